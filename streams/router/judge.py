"""The judge: decides the trials of canaries, by itself.

Every router has one, and the one whose router owns the first partition of the queries is at work:
when that router dies, its successor takes over. What a trial is about lies in the family's Traffic
record and what it rests on in the topics of metrics, feedback and shadow, so a successor reads
them from the trial's beginning and comes to the same evidence. Should two judge for a moment, the
decision is written once: it names the revision it was made on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Final, TypeVar

from aiokafka.errors import KafkaError

from schemas.codec import Codec
from schemas.errors import DecodeError, LorelayError
from schemas.records import AdapterMetrics, Feedback, Response, Traffic
from streams.canary.trial import PREHISTORY, Outcome, Trial, Verdict
from streams.kafka.access import AccessRefused, lacking_rights
from streams.kafka.acls import judge_acls
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader
from streams.parts import started
from streams.registry.change import Change, Intent
from streams.registry.reader import Registry
from streams.registry.trials import canary_failed, canary_passed, canary_undecided
from streams.registry.writer import RegistryWriter
from streams.telemetry.canary import CanaryMetrics

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
#: After something has gone wrong.
_AGAIN_SECONDS: Final = 10.0
#: Records and windows, some 20 ms of work each.
_READ_AT_ONCE: Final = 200
_WEIGHED_AT_ONCE: Final = 20

R = TypeVar("R")

_CHANGES: Final[Mapping[Outcome, Callable[[Registry, str, Intent], Change]]] = {
    Outcome.PROMOTE: canary_passed,
    Outcome.ROLL_BACK: canary_failed,
    Outcome.UNDECIDED: canary_undecided,
}


class Hearing:
    """One trial and what is read for it; ``now`` is the time.

    A trial whose beginning is yet to come was begun by a clock that is ahead: it has begun now, or
    the version would have its share until then with nobody looking.

    All since a trial's beginning may be far more than fits into memory, and takes long to weigh:
    each record is read as it comes, and no more of it is kept than counts. Both are done in a
    thread, which rests as long as it works: queries have the interpreter meanwhile.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        traffic: Traffic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        assert traffic.canary is not None
        self.family = traffic.family
        self.revision = traffic.revision
        self.plan = replace(traffic.canary, started_at=min(traffic.canary.started_at, now()))
        judged = {share.adapter for share in traffic.shares} | {self.plan.adapter}
        self._trial = Trial(self.plan, judged - {self.plan.adapter})
        self._judged = {adapter.encode() for adapter in judged}
        self._codec = codec
        self._now = now
        self._topics = topics = settings.topics
        self._arrived: list[tuple[str, bytes]] = []
        self._working = asyncio.Lock()
        self._reader = TableReader(
            settings,
            [topics.metrics, topics.feedback, *([topics.shadow] if self.plan.shadow else [])],
            self.receive,
            on_read=self.take,
            since=self.plan.started_at - PREHISTORY,
        )

    async def start(self) -> None:
        """Returns when all that was written up to now is there. Raises: KafkaError."""
        await self._reader.start()
        # That may take minutes, whose windows are to be complete at the first look.
        await self._reader.catch_up()

    async def stop(self) -> None:
        """Reads no more."""
        await self._reader.stop()

    def receive(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        """A record, which `take` reads."""
        if value is not None and (topic != self._topics.metrics or key in self._judged):
            self._arrived.append((topic, value))

    async def take(self) -> None:
        """Reads what has arrived, and keeps of it what counts."""
        arrived, self._arrived = self._arrived, []
        for first in range(0, len(arrived), _READ_AT_ONCE):
            await self._apart(self._take, arrived[first : first + _READ_AT_ONCE], self._now())

    async def look(self, now: datetime) -> Verdict | None:
        """What there is to decide."""
        await self.take()
        while not await self._apart(self._trial.weigh, now, _WEIGHED_AT_ONCE):
            pass
        async with self._working:
            return self._trial.look(now)

    def progress(self) -> Iterable[tuple[str, str, float]]:
        """As the trial's."""
        return [(m.value, towards, part) for m, towards, part in self._trial.progress()]

    async def _apart(self, work: Callable[..., R], *given: object) -> R:
        """Does one thing at a time in a thread, and rests as long."""
        async with self._working:
            began = perf_counter()
            done = await asyncio.to_thread(work, *given)
        await asyncio.sleep(perf_counter() - began)
        return done

    def _take(self, arrived: Iterable[tuple[str, bytes]], now: datetime) -> None:
        for topic, value in arrived:
            try:
                self._take_one(topic, value, now)
            except (DecodeError, ValueError, OverflowError) as error:
                log.warning("a record of %s counts for nothing: %s", topic, error)

    def _take_one(self, topic: str, value: bytes, now: datetime) -> None:
        if topic == self._topics.metrics:
            self._trial.add_window(self._codec.decode(AdapterMetrics, value))
        elif topic == self._topics.feedback:
            feedback = self._codec.decode(Feedback, value)
            self._trial.add_feedback(feedback, min(feedback.created_at or now, now))
        else:
            response = self._codec.decode(Response, value)
            self._trial.add_shadow(response, min(response.created_at or now, now))


class Judge:
    """Looks at all trials once a second, as long as it is this router's turn."""

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        registry: Registry,
        is_mine: Callable[[], bool],
        metrics: CanaryMetrics,
        name: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._registry = registry
        self._is_mine = is_mine
        self._metrics = metrics
        self._actor = f"judge at {name}"
        self._now = now
        self._hearings: dict[str, tuple[Hearing, AsyncExitStack]] = {}

    async def run(self) -> None:
        """Judges until cancelled; survives a broker that is away."""
        try:
            while True:
                done = [await self._tried(self._follow())]
                for hearing, _ in tuple(self._hearings.values()):
                    done.append(await self._tried(self._judge(hearing)))
                await asyncio.sleep(_LOOK_SECONDS if all(done) else _AGAIN_SECONDS)
        finally:
            for family in tuple(self._hearings):
                await self._close(family)

    async def _tried(self, work: Awaitable[None]) -> bool:
        """Whether it went well. Users are served all the same: no trial may end the router.

        Nor hold up the others: each is tried by itself.
        """
        try:
            await work
        except (KafkaError, LorelayError) as error:
            log.warning("judging canaries: %s; trying again", error)
            return False
        except Exception:
            log.exception("judging canaries failed; trying again")
            return False
        return True

    async def _follow(self) -> None:
        """Opens a hearing for each trial there is, and closes those that are over."""
        trials = {t.family: t for t in self._registry.on_trial()} if self._is_mine() else {}
        for family, (hearing, _) in tuple(self._hearings.items()):
            if family not in trials or trials[family].revision != hearing.revision:
                await self._close(family)
        for family in trials.keys() - self._hearings.keys():
            await self._open(trials[family])

    async def _open(self, traffic: Traffic) -> None:
        if lacking := await lacking_rights(self._settings, judge_acls(self._settings.topics)):
            raise AccessRefused(
                f"{self._settings.principal} lacks {', '.join(lacking)} (`lorelay topics acls` "
                "lists a judge's rights)"
            )
        stack = AsyncExitStack()
        try:
            hearing = await started(Hearing(self._settings, self._codec, traffic, self._now), stack)
        except BaseException:
            await stack.aclose()
            raise
        self._hearings[traffic.family] = hearing, stack
        log.info("judging %s, until %s", hearing.plan.adapter, hearing.plan.ends_at)

    async def _close(self, family: str) -> None:
        _, stack = self._hearings.pop(family)
        self._metrics.forget(family)
        await stack.aclose()

    async def _judge(self, hearing: Hearing) -> None:
        verdict = await hearing.look(self._now())
        self._metrics.show(hearing.family, hearing.plan.adapter, hearing.progress())
        if verdict is None or not self._is_mine():
            return
        log.info("%s: %s: %s", hearing.plan.adapter, verdict.outcome.value, verdict.reason)
        intent = Intent(self._actor, self._now(), verdict.reason, verdict.figures, hearing.revision)
        plan = _CHANGES[verdict.outcome]
        # Whoever opens a writer takes other people's turn from them: not for what is refused.
        plan(self._registry, hearing.family, intent)
        async with RegistryWriter(self._settings, self._codec, self._actor) as writer:
            await writer.change(lambda registry: plan(registry, hearing.family, intent))
        self._metrics.count_verdict(verdict.outcome.name.lower())
        await self._close(hearing.family)
