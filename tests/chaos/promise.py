"""A run of the promise: queries in, members killed, and what an independent reader counts."""

import asyncio
import os
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Self

from confluent_kafka import Message

from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.chaos import wire
from tests.chaos.fleet import ROOT, Fleet
from tests.chaos.growth import Growth, GrowthWatch
from tests.chaos.preloaded import PreloadedCommand
from tests.chaos.storm import Act, Storm, schedule
from tests.chaos.traffic import Mix, Sent, Traffic
from tests.integration.kafka.cluster import Cluster

#: The same kills in every run; another number gives another schedule.
SEED = int(os.environ.get("CHAOS_SEED", "3"))
#: The echo engine dies of a prompt with this word, where it was told to.
POISON = "poison"
SESSION_TIMEOUT = 6.0
ROUTER_GROUP, WORKER_GROUP = "router", "worker"

_BURST_SECONDS = 30.0
#: After so long without a change, what has not come will not come.
_SETTLE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a run, and how long its queries are spread out, in seconds."""

    queries: int
    seconds: float
    burst: float
    router: Mapping[Act, int]
    worker: Mapping[Act, int]
    pause: tuple[float, float] = (1.0, 4.0)
    adapters: tuple[str, ...] = ()
    #: The share of queries that kill the engine.
    poison: float = 0.0
    #: Whether some queries come in transactions, of which some are aborted.
    in_transactions: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was sent, and what is on the topics when every offset is committed."""

    sent: Sent
    responses: list[dict[str, Any]]
    copies: list[dict[str, Any]]
    dead_letters: list[str]
    counted_by_metrics: int
    unfinished: Mapping[str, int]
    unclean_exits: list[int]
    crashed: list[str]
    left_behind: list[int]
    acts: Mapping[str, Counter[str]]
    hits: list[datetime]
    growth: Mapping[str, Growth]
    seconds: float
    seed: int

    @property
    def doubled(self) -> int:
        """Responses beyond the first to a query record."""
        return sum(count - 1 for count in self.answers.values())

    @property
    def lost(self) -> int:
        """Query records without a response."""
        return len(self.sent.places.keys() - self.answers.keys())

    @property
    def answers(self) -> Counter[tuple[int, int]]:
        """Responses by the query record that they name as their origin."""
        return Counter(
            (response["origin"]["partition"], response["origin"]["offset"])
            for response in self.responses
        )

    @property
    def response_times(self) -> list[datetime]:
        """When responses were made, in order."""
        return sorted(response["created_at"] for response in self.responses)

    @property
    def names(self) -> Counter[str]:
        """Responses by the id of their query."""
        return Counter(response["query_id"] for response in self.responses)

    @property
    def summary(self) -> str:
        acts = "; ".join(
            f"{role}: {', '.join(f'{count} {act}' for act, count in sorted(done.items()))}"
            for role, done in self.acts.items()
            if done.total()
        )
        return (
            f"{len(self.sent.places):,} in (and {len(self.sent.aborted):,} aborted), "
            f"{len(self.answers):,} distinct, {self.doubled} doubled, {self.lost} lost; {acts}; "
            f"{self.seconds:.0f} s, seed {self.seed}"
        )

    @property
    def is_promise_kept(self) -> bool:
        """Nothing lost or doubled, no offset or count left behind, nobody ended by himself."""
        return (
            not self.lost
            and not self.doubled
            and self.names == Counter(self.sent.places.values())
            and not any(self.unfinished.values())
            and self.counted_by_metrics == len(self.responses)
            and not self.crashed
            and not self.left_behind
        )


#: Something that goes wrong while the queries come in.
Fault = Callable[[Traffic], Awaitable[None]]


async def no_fault(traffic: Traffic) -> None:
    """Nothing goes wrong but what the plan says."""


class Run:
    """One run on topics and groups of its own; a context manager that leaves nothing behind."""

    def __init__(
        self,
        kafka: str,
        folder: Path,
        engine: Mapping[str, str],
        *,
        seed: int = SEED,
    ) -> None:
        self._seed = seed
        self._strikes: list[tuple[str, datetime]] = []
        self._topics = Topics(f"storm-{uuid.uuid4().hex[:12]}.")
        self._settings = KafkaSettings(kafka=kafka, topic_prefix=self._topics.prefix)
        self._cluster = Cluster(kafka)
        self._fleet = Fleet(folder, self._variables() | engine)
        self._growth = GrowthWatch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._fleet.close()
        self._cluster.clean_up(self._topics.prefix)

    async def prepare(self, *, routers: int = 1, workers: int = 1) -> None:
        """Creates the topics and starts so many routers and workers."""
        await create_topics(self._settings, self._topics.specs())
        # Static members take their partitions back after a kill; those that join are dynamic.
        for role, count in (("worker", workers), ("router", routers)):
            for number in range(1, count + 1):
                name = f"{role}-{number}"
                self._fleet.start(name, role, LORELAY_INSTANCE=name)
        await asyncio.gather(
            *(
                self._fleet.until_ready(member)
                for role in ("worker", "router")
                for member in self._fleet.of_role(role)
            )
        )

    def register(self, folders: Sequence[Path]) -> None:
        """Registers adapters as an operator does; a running worker says which it can serve."""
        register = ["adapters", "register", *map(str, folders)]
        PreloadedCommand(register, self._fleet.environment, ROOT).completed(60).check_returncode()

    @property
    def fleet(self) -> Fleet:
        """The routers and workers."""
        return self._fleet

    async def until_ready(self) -> None:
        """Returns when every member that runs does its work."""
        for role in ("router", "worker"):
            for member in self._fleet.of_role(role):
                if member.is_alive:
                    await self._fleet.until_ready(member)

    def strike(self, what: str) -> None:
        """Notes that a fault hits, of a kind that no act on a member is."""
        self._strikes.append((what, datetime.now(UTC)))

    async def through(self, plan: Plan, fault: Fault = no_fault) -> Outcome:
        """Sends the plan's queries while its storms and the fault go on; then counts."""
        began = monotonic()
        mix = Mix(random.Random(self._seed), self._topics, plan.adapters, plan.poison)
        traffic = Traffic(
            self._settings.kafka,
            self._topics,
            mix,
            random.Random(self._seed),
            in_transactions=plan.in_transactions,
        )
        storms = {role: self._storm(role, plan, traffic) for role in ("router", "worker")}
        sending = asyncio.create_task(
            asyncio.to_thread(traffic.run, plan.queries, plan.seconds, plan.burst)
        )
        watching = asyncio.create_task(self._growth.watch(self._fleet))
        try:
            async with asyncio.TaskGroup() as tasks:
                for role, counts in (("router", plan.router), ("worker", plan.worker)):
                    rng = random.Random(f"{self._seed} {role}")
                    tasks.create_task(storms[role].run(schedule(rng, counts)))
                tasks.create_task(fault(traffic))
        finally:
            traffic.hurry()
            await sending
        await self._settle(traffic.sent)
        watching.cancel()
        return self._outcome(traffic.sent, storms, monotonic() - began)

    def _storm(self, role: str, plan: Plan, traffic: Traffic) -> Storm:
        return Storm(
            self._fleet,
            role,
            random.Random(f"{self._seed} {role} storm"),
            busy_moment=lambda: next_burst(traffic),
            pause=plan.pause,
            stop_seconds=SESSION_TIMEOUT + 3,
        )

    async def _settle(self, sent: Sent) -> None:
        """Returns when every offset is committed and every response counted, or never will be.

        That is when nothing has moved for long: a backlog takes as long as it takes.
        """
        moved, deadline = -1, monotonic() + _SETTLE_SECONDS
        while monotonic() < deadline:
            if (left := await asyncio.to_thread(self._left, sent)) == 0:
                return
            if left != moved:
                moved, deadline = left, monotonic() + _SETTLE_SECONDS
            await asyncio.sleep(2)

    def _left(self, sent: Sent) -> int:
        """Queries that lack a response, records not finished, responses not counted."""
        responses = self._cluster.read(self._topics.responses)
        unanswered = len(sent.places) - len({message.key() for message in responses})
        uncounted = len(responses) - self._counted_by_metrics()
        return max(0, unanswered) + sum(self._unfinished().values()) + max(0, uncounted)

    def _outcome(
        self,
        sent: Sent,
        storms: Mapping[str, Storm],
        seconds: float,
    ) -> Outcome:
        acts: dict[str, Counter[str]] = {role: Counter(s.done) for role, s in storms.items()}
        acts["broker"] = Counter(what for what, _ in self._strikes)
        return Outcome(
            sent=sent,
            responses=self._decoded("Response", self._topics.responses),
            copies=self._decoded("Response", self._topics.replies),
            dead_letters=[_key(m) for m in self._cluster.read(self._topics.dead_letters)],
            counted_by_metrics=self._counted_by_metrics(),
            unfinished=self._unfinished(),
            unclean_exits=[exit for storm in storms.values() for exit in storm.unclean_exits],
            crashed=self._fleet.crashed(),
            left_behind=self._fleet.left_behind(),
            acts=acts,
            hits=sorted(
                [at for _, at in self._strikes] + [h for s in storms.values() for h in s.hits]
            ),
            growth=self._growth.largest(),
            seconds=seconds,
            seed=self._seed,
        )

    def _decoded(self, schema: str, topic: str) -> list[dict[str, Any]]:
        return [wire.decode(schema, m.value() or b"") for m in self._cluster.read(topic)]

    def _counted_by_metrics(self) -> int:
        windows = self._decoded("AdapterMetrics", self._topics.metrics)
        return sum(window["num_requests"] for window in windows)

    def _unfinished(self) -> dict[str, int]:
        """Records at or beyond the offset of each group that reads the topic."""
        topics = self._topics
        readers = {
            topics.queries: ROUTER_GROUP,
            topics.requests: WORKER_GROUP,
            topics.responses: f"{ROUTER_GROUP}-metrics",
        }
        return {topic: self._behind(group, topic) for topic, group in readers.items()}

    def _variables(self) -> dict[str, str]:
        return {
            "LORELAY_KAFKA": self._settings.kafka,
            "LORELAY_TOPIC_PREFIX": self._topics.prefix,
            "LORELAY_ROUTER_GROUP": f"{self._topics.prefix}{ROUTER_GROUP}",
            "LORELAY_WORKER_GROUP": f"{self._topics.prefix}{WORKER_GROUP}",
            "LORELAY_METRICS_PORT": "0",
            "LORELAY_METRICS_WINDOW": "1",
            "LORELAY_SESSION_TIMEOUT": f"{SESSION_TIMEOUT:.0f}",
        }

    def _behind(self, group: str, topic: str) -> int:
        name = f"{self._topics.prefix}{group}"
        records = self._cluster.read(topic)
        partitions = {message.partition() for message in records}
        committed = {p: self._cluster.committed(name, topic, p) for p in partitions}
        return sum(message.offset() >= committed[message.partition()] for message in records)


async def next_burst(traffic: Traffic) -> None:
    """Returns when queries have just been sent, or none have for long."""
    seen = traffic.bursts
    with suppress(TimeoutError):
        async with asyncio.timeout(_BURST_SECONDS):
            while True:
                if traffic.bursts != seen:
                    return
                await asyncio.sleep(0.005)


def _key(message: Message) -> str:
    return (message.key() or b"").decode()
