"""Partitions whose leaders move while queries come in, the coordinators' own among them."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams.kafka.limits import SizeLimits
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import PartitionTransactions
from tests.chaos.promise import Outcome, Plan, Run, next_burst
from tests.chaos.traffic import Traffic
from tests.integration.broker_faults.conftest import ENGINE, assert_promise_kept
from tests.integration.broker_faults.three_brokers import NODES, ThreeBrokers, three_brokers
from tests.integration.kafka.cluster import Cluster

pytestmark = pytest.mark.timeout(600)

_SECONDS = 60.0
_COORDINATORS = ("__consumer_offsets", "__transaction_state")


@dataclass(slots=True)
class Moves:
    """Kills a node, starts it again and gives its leaders back; so for two of the three."""

    brokers: ThreeBrokers
    #: How many leaders of each coordinators' topic have moved, in all.
    moved: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COORDINATORS, 0))

    async def __call__(self, traffic: Traffic) -> None:
        for node in (2, 3):
            await next_burst(traffic)
            before = self._leaders()
            self.brokers.kill(node)
            async with asyncio.timeout(_SECONDS):
                await self._until_moved(node)
            self._count(before)
            await next_burst(traffic)
            # In this thread: a broker ends with the thread that has started it.
            self.brokers.restart(node)
            await next_burst(traffic)
            before = self._leaders()
            self.brokers.elect_preferred()
            self._count(before)
            await next_burst(traffic)

    async def _until_moved(self, node: int) -> None:
        while any({node, -1} & set(leaders) for leaders in self._leaders().values()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    def _leaders(self) -> dict[str, list[int]]:
        return {topic: self.brokers.leaders(topic) for topic in _COORDINATORS}

    def _count(self, before: dict[str, list[int]]) -> None:
        for topic, leaders in self._leaders().items():
            self.moved[topic] += sum(a != b for a, b in zip(before[topic], leaders, strict=True))


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeBrokers]:
    with three_brokers(tmp_path_factory.mktemp("three")) as made:
        yield made


def test_every_query_has_one_response_wherever_the_leaders_are(
    brokers: ThreeBrokers,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moves = Moves(brokers)
    plan = Plan(600, seconds=30.0, burst=10, router={}, worker={}, in_transactions=False)
    with Run(brokers.address, tmp_path_factory.mktemp("moved"), ENGINE) as run:

        async def storm() -> Outcome:
            await run.prepare()
            return await run.through(plan, moves)

        outcome = asyncio.run(storm())
    with capsys.disabled():
        print(f"\nleaders moved: {outcome.summary}; {moves.moved}")
    assert all(count >= 4 for count in moves.moved.values()), moves.moved
    assert_promise_kept(outcome)


async def test_who_is_no_coordinator_any_more_does_not_know_that_nothing_is_committed(
    brokers: ThreeBrokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KafkaSettings(kafka=brokers.address)
    cluster, group = Cluster(brokers.address), f"group-{uuid.uuid4().hex}"
    source = cluster.create("in")
    cluster.produce(source, [b"0", b"1"])
    cluster.commit(group, source, 2)
    admin = AIOKafkaAdminClient(**settings.client_kwargs())
    await admin.start()
    limits = SizeLimits(settings.max_record_bytes)
    transactions = PartitionTransactions(settings, group, TopicPartition(source, 0), limits)
    coordinator = await admin.find_coordinator(group)

    async def the_last_one(_: str) -> int:
        return next(node for node in NODES if node != coordinator)

    with monkeypatch.context() as moved:
        moved.setattr(admin, "find_coordinator", the_last_one)
        with pytest.raises(GroupCoordinatorNotAvailableError):
            await transactions.initialise(admin)
    await transactions.close()
    committed = await transactions.initialise(admin)
    assert committed is not None and committed.offset == 2
    await transactions.close()
    await admin.close()
