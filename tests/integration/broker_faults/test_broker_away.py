"""A broker that stops, connections that are cut, and a network that swallows everything."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import OutcomeUnknown, PartitionTransactions, transactional_id
from streams.kafka.window import Committed
from tests.chaos.broker import KillableBroker, killable_broker
from tests.chaos.promise import Outcome, Plan, Run, next_burst
from tests.chaos.proxy import Proxy, running_proxy
from tests.chaos.traffic import Traffic
from tests.integration.broker_faults.conftest import ENGINE, assert_promise_kept
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import eventually

pytestmark = pytest.mark.timeout(600)

_CUTS = 4
_ROLES = ("router", "worker")
_SECONDS = 60.0


@dataclass(slots=True)
class Faults:
    """Everything that can come between clients and their broker, one after the other."""

    run: Run
    broker: KillableBroker
    proxy: Proxy
    away_seconds: float
    #: What each process said on /ready during a fault.
    said: dict[str, set[str]] = field(default_factory=dict)

    async def __call__(self, traffic: Traffic) -> None:
        for _ in range(_CUTS):
            await next_burst(traffic)
            self.proxy.cut()
            await asyncio.sleep(0.7)
        await next_burst(traffic)
        self.proxy.swallow()
        await self._listen("swallowed")
        self.proxy.forward()
        await self._until_ready()
        await next_burst(traffic)
        # In this thread: the broker ends with the thread that has started it.
        self.broker.stop()
        await self._listen("stopped")
        self.broker.start()
        await self._until_ready()

    async def _listen(self, fault: str) -> None:
        """Until both say what they wait for; one that was taking over says that first."""
        heard = self.said.setdefault(fault, set())
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                await asyncio.sleep(self.away_seconds)
                while not all(self.has_said(role, fault) for role in _ROLES):
                    await self._hear(heard)
                    await asyncio.sleep(0.2)

    def has_said(self, role: str, fault: str) -> bool:
        """Whether it said during this fault that it waits for the broker."""
        expected = f"{role}: waiting for Kafka at {self.proxy.address}"
        return any(reason.startswith(expected) for reason in self.said[fault])

    async def _hear(self, heard: set[str]) -> None:
        for role in _ROLES:
            for member in self.run.fleet.of_role(role):
                if reason := await asyncio.to_thread(self.run.fleet.waits_for, member):
                    heard.add(f"{role}: {reason}")

    async def _until_ready(self) -> None:
        for role in _ROLES:
            for member in self.run.fleet.of_role(role):
                await self.run.fleet.until_ready(member)


@dataclass(frozen=True, slots=True)
class Endured:
    """What became of the queries, and what was said meanwhile."""

    outcome: Outcome
    faults: Faults
    address: str


@pytest.fixture(scope="module")
def endured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endured]:
    folder = tmp_path_factory.mktemp("broker-away")
    with (
        running_proxy() as proxy,
        killable_broker(folder / "broker", advertised=proxy.address) as broker,
    ):
        proxy.forward_to(broker.address)
        is_soak = request.config.getoption("--soak")
        with Run(proxy.address, folder, ENGINE) as run:
            faults = Faults(run, broker, proxy, away_seconds=30.0 if is_soak else 11.0)
            plan = Plan(
                queries=1200 if is_soak else 500,
                seconds=90.0 if is_soak else 30.0,
                burst=10,
                router={},
                worker={},
                in_transactions=False,
            )

            async def storm() -> Outcome:
                await run.prepare()
                return await run.through(plan, faults)

            yield Endured(asyncio.run(storm()), faults, proxy.address)


def test_every_query_has_one_response_and_nobody_ended(
    endured: Endured, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nbroker away: {endured.outcome.summary}; {endured.faults.proxy.cuts} cuts")
        print(endured.faults.said)
    assert endured.faults.proxy.cuts > 10 * _CUTS
    assert_promise_kept(endured.outcome)


@pytest.mark.parametrize("role", _ROLES)
def test_ready_says_what_is_waited_for(endured: Endured, role: str) -> None:
    assert endured.faults.said.keys() == {"swallowed", "stopped"}
    for fault, said in endured.faults.said.items():
        assert endured.faults.has_said(role, fault), said


async def test_after_a_request_without_an_answer_a_producer_begins_no_transaction(
    endured: Endured,
) -> None:
    proxy, cluster = endured.faults.proxy, Cluster(endured.address)
    partition, target = TopicPartition(cluster.create("in"), 0), cluster.create("out")
    settings = KafkaSettings(kafka=endured.address)
    group = f"group-{uuid.uuid4().hex}"
    named = transactional_id(group, partition).encode()

    def transactions() -> PartitionTransactions:
        limits = SizeLimits(settings.max_record_bytes)
        return PartitionTransactions(settings, group, partition, limits)

    async with asyncio.timeout(_SECONDS):
        admin = AIOKafkaAdminClient(**settings.client_kwargs())
        await admin.start()
        first = transactions()
        assert await first.initialise(admin) is None
        await first.commit([Output(target, b"0")], Committed(1))
        proxy.swallow()
        committing = asyncio.create_task(first.commit([Output(target, b"1")], Committed(2)))
        # Not any request: other clients' wait there, too.
        await eventually(lambda: any(named in piece for piece in proxy.held), "its first request")
        proxy.cut()
        proxy.forward()
        with pytest.raises(OutcomeUnknown):
            await committing
        with pytest.raises(OutcomeUnknown):
            await first.commit([Output(target, b"2")], Committed(3))
        await first.close()

        second = transactions()
        committed = await second.initialise(admin)
        await second.close()
        await admin.close()
    assert committed is not None
    assert len(cluster.read(target)) == committed.offset
