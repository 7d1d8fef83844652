"""A lone broker that is killed in the midst of commits, with or without the owner that commits.

Whoever takes over knows from the coordinator how each last transaction was to end.
"""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from aiokafka import TopicPartition
from aiokafka.producer.sender import Sender

from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.settling import Unsettled
from streams.kafka.transactions import PartitionTransactions
from streams.kafka.window import Committed
from tests.chaos.broker import KillableBroker, killable_broker
from tests.chaos.fleet import ROOT
from tests.integration.broker_faults.committing import PARTITIONS, TARGETS
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import eventually
from tests.kafka_admin import running_admin

pytestmark = pytest.mark.timeout(600)

_COMMITTING = "tests.integration.broker_faults.committing"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableBroker]:
    with killable_broker(tmp_path_factory.mktemp("broker")) as made:
        yield made


@pytest.fixture
def own(broker: KillableBroker) -> Iterator[Cluster]:
    cluster = Cluster(broker.address)
    # A new broker makes its coordinators' topics for the first who asks.
    cluster.commit("nobody's", cluster.create("in"), 0)
    yield cluster
    cluster.clean_up("none of these")


def values(cluster: Cluster, topic: str, isolation: str = "read_committed") -> list[bytes]:
    return [message.value() for message in cluster.read(topic, isolation)]


class Owning:
    """The process that commits."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", _COMMITTING, *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.await_progress()

    def await_progress(self) -> None:
        """Returns when it has taken all partitions over and committed in each."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "at it\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


async def committed(broker: KillableBroker, group: str, source: str, target: str) -> list[int]:
    """What the next owner of each partition finds, a process that knows of nothing before."""
    settings = KafkaSettings(kafka=broker.address)
    limits, unsettled = SizeLimits(settings.max_record_bytes), Unsettled([target])
    found = []
    async with running_admin(settings) as asked:
        for number in range(PARTITIONS):
            place = TopicPartition(source, number)
            owner = PartitionTransactions(settings, group, place, limits, unsettled)
            offset = await owner.initialise(asked)
            found.append(offset.offset if offset else 0)
            await owner.close()
    return found


async def test_a_transaction_is_whole_whoever_was_killed_with_the_broker(
    broker: KillableBroker, own: Cluster, group: str
) -> None:
    source, target = own.create("in", PARTITIONS), own.create("out", TARGETS)
    rng = random.Random(5)
    for is_owner_killed in (True, False):
        owning = Owning(broker.address, group, source, target)
        await asyncio.sleep(rng.uniform(0.5, 1.0))
        if is_owner_killed:
            owning.kill()
        broker.kill_and_restart()
        if not is_owner_killed:
            owning.await_progress()
            owning.kill()
        offsets = await committed(broker, group, source, target)
        assert min(offsets) > 0
        expected = [b"%d:%d" % (n, done) for n, end in enumerate(offsets) for done in range(end)]
        assert Counter(values(own, target)) == Counter(expected)


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("missing", ["a record's", "the offset's", "both"])
async def test_a_missing_marker_is_written_by_a_process_that_knows_of_nothing(
    broker: KillableBroker, own: Cluster, group: str, missing: str, is_committed: bool
) -> None:
    """Markers are missing where the coordinator never heard of a part of the transaction."""
    own.set_of_broker("transaction.partition.verification.enable", "false")
    source, target = own.create("in"), own.create("out", 2)
    place, settings = TopicPartition(source, 0), KafkaSettings(kafka=broker.address)
    limits = SizeLimits(settings.max_record_bytes)

    def owner() -> PartitionTransactions:
        return PartitionTransactions(settings, group, place, limits, Unsettled([target]))

    async def part_of(sender: Sender, partitions: set[TopicPartition]) -> None:
        manager = sender._txn_manager
        kept = {p for p in partitions if p.partition == 0 or missing == "the offset's"}
        for partition in partitions - kept:
            manager.partition_added(partition)
        await add_partitions(sender, kept)

    async def no_group(sender: Sender, group: str) -> None:
        sender._txn_manager.consumer_group_added(group)

    async with running_admin(settings) as asked:
        first, second = owner(), owner()
        assert await first.initialise(asked) is None
        producer = first._producer
        assert producer is not None
        add_partitions = Sender._do_add_partitions_to_txn
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Sender, "_do_add_partitions_to_txn", part_of)
            if missing != "a record's":
                patched.setattr(Sender, "_do_add_offsets_to_txn", no_group)
            if not is_committed:
                patched.setattr(producer, "commit_transaction", producer.abort_transaction)
            outputs = [Output(target, b"x", partition=0), Output(target, b"y", partition=1)]
            await first.commit(outputs, Committed(2))
        await first.close()
        seen = [] if not is_committed else [b"x"] if missing != "the offset's" else [b"x", b"y"]
        await eventually(lambda: values(own, target) == seen, "what has a marker")
        assert values(own, target, "read_uncommitted") == [b"x", b"y"]

        found = await second.initialise(asked)
        settled = [b"x", b"y"] if is_committed else []
        assert values(own, target) == settled
        # The next commit would make visible what has no marker yet.
        await second.commit([Output(target, b"z", partition=1)], Committed(3))
        await second.close()
    assert found == (Committed(2) if is_committed else None)
    await eventually(lambda: values(own, target)[-1:] == [b"z"], "the next commit")
    assert values(own, target) == [*settled, b"z"]
