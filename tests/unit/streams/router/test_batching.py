"""Micro-batches: what has arrived, in order, bounded, and of the current assignment only."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition

from schemas.errors import ConfigurationError
from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.owner import PartitionOwner
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import PartitionTransactions
from streams.router.batching import MAX_PENDING_BYTES, Arrival, MicroBatcher
from streams.router.faust_app import make_app
from streams.router.partitions import OwnedPartitions
from streams.router.settings import RouterSettings

TOPIC = "queries"


@dataclass(frozen=True)
class Record:
    """A message as Faust hands it out."""

    partition: int
    offset: int
    generation_id: int = 1
    value: bytes | None = None


class Assigned(OwnedPartitions):
    """Partitions as after an assignment, whose transactions are never written."""

    def __init__(self) -> None:
        settings = RouterSettings(kafka="127.0.0.1:1")
        super().__init__(
            make_app(settings), settings, TOPIC, SizeLimits(1000), lambda *_: None, lambda *_: None
        )

    def assign(self, *numbers: int, generation: int) -> None:
        self._generation = generation
        self._owners = {number: self._make(number) for number in numbers}

    async def revoke(self) -> None:
        await self._revoked(self._app)

    def commit_all(self) -> None:
        for owner in self._owners.values():
            owner.unwritten.clear()
        self._on_committed()

    def finished(self, number: int) -> list[int]:
        return list(self._owners[number].unwritten)

    def _make(self, number: int) -> PartitionOwner:
        partition = TopicPartition(TOPIC, number)
        owner = PartitionOwner(
            partition,
            PartitionTransactions(
                KafkaSettings(kafka="127.0.0.1:1"), "group", partition, SizeLimits(1000)
            ),
            linger_seconds=0.0,
            on_transaction=lambda *_: None,
            on_deleted=lambda topic, records: None,
            on_lost=lambda _: None,
        )
        owner.is_ready = True
        return owner


class Desk:
    """Work that keeps its batches and lets go of each when it is told."""

    def __init__(self) -> None:
        self.batches: list[list[Record]] = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def work(self, arrivals: Sequence[Arrival]) -> list[Sequence[Output]]:
        self.batches.append([arrival.message for arrival in arrivals])
        await self.is_open.wait()
        return [[] for _ in arrivals]


class Desks:
    """Work of which each batch is let go by itself, by the offset that it begins with."""

    def __init__(self) -> None:
        self.at_work: dict[int, asyncio.Future[None]] = {}

    async def work(self, arrivals: Sequence[Arrival]) -> list[Sequence[Output]]:
        self.at_work[arrivals[0].message.offset] = done = asyncio.Future[None]()
        await done
        return [[] for _ in arrivals]


@pytest.fixture
async def partitions() -> Assigned:
    assigned = Assigned()
    assigned.assign(0, 1, generation=1)
    return assigned


async def let_run() -> None:
    """Lets every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def offer(batcher: MicroBatcher, count: int) -> None:
    """The first so many offsets of partition 0, one after the other."""
    for offset in range(count):
        await batcher.offer(Record(0, offset))
        await let_run()


async def test_what_arrives_while_a_batch_is_worked_on_is_the_next_batch(
    partitions: Assigned,
) -> None:
    desk = Desk()
    batcher = MicroBatcher(partitions, desk.work, max_batch=10, max_pending=100)
    running = asyncio.create_task(batcher.run())
    desk.is_open.clear()
    first, *others = [Record(offset % 2, offset) for offset in range(6)]
    await batcher.offer(first)
    await let_run()
    for record in others:
        await batcher.offer(record)
    await let_run()
    assert desk.batches == [[first]]
    assert batcher.in_flight == 5
    desk.is_open.set()
    await let_run()
    assert desk.batches == [[first], others]
    assert partitions.finished(0) == [0, 2, 4]
    assert partitions.finished(1) == [1, 3, 5]
    running.cancel()


async def test_a_full_batch_begins_beside_another_and_is_finished_after_it(
    partitions: Assigned,
) -> None:
    desks = Desks()
    batcher = MicroBatcher(partitions, desks.work, max_batch=2, max_pending=100)
    running = asyncio.create_task(batcher.run())
    await offer(batcher, 6)
    assert list(desks.at_work) == [0, 1]
    desks.at_work[1].set_result(None)
    await let_run()
    assert partitions.finished(0) == []
    desks.at_work[0].set_result(None)
    await let_run()
    assert partitions.finished(0) == [0, 1, 2]
    assert list(desks.at_work) == [0, 1, 3]
    running.cancel()


async def test_work_that_fails_ends_it_and_keeps_nobody_waiting(partitions: Assigned) -> None:
    desks = Desks()
    batcher = MicroBatcher(partitions, desks.work, max_batch=1, max_pending=100)
    running = asyncio.create_task(batcher.run())
    await offer(batcher, 3)
    draining = asyncio.create_task(batcher.drain())
    desks.at_work[0].set_exception(ConfigurationError("No encoder any more."))
    with pytest.raises(ConfigurationError):
        await running
    await let_run()
    assert draining.done()
    assert partitions.finished(0) == []
    assert list(desks.at_work) == [0, 1]


async def test_a_batch_is_no_longer_than_it_may_be(partitions: Assigned) -> None:
    desk = Desk()
    batcher = MicroBatcher(partitions, desk.work, max_batch=4, max_pending=100)
    for offset in range(10):
        await batcher.offer(Record(0, offset))
    running = asyncio.create_task(batcher.run())
    await let_run()
    assert [len(batch) for batch in desk.batches] == [4, 4, 2]
    running.cancel()


async def test_records_of_another_generation_and_repeated_ones_are_dropped(
    partitions: Assigned,
) -> None:
    desk = Desk()
    batcher = MicroBatcher(partitions, desk.work, max_batch=10, max_pending=100)
    for record in (
        Record(0, 5),
        Record(0, 5),
        Record(0, 4),
        Record(0, 6, generation_id=0),
        Record(7, 1),
        Record(0, 7),
    ):
        await batcher.offer(record)
    running = asyncio.create_task(batcher.run())
    await let_run()
    assert desk.batches == [[Record(0, 5), Record(0, 7)]]
    running.cancel()


@pytest.mark.parametrize(("number", "size"), [(3, 0), (100, MAX_PENDING_BYTES // 3 + 1)])
async def test_reading_waits_while_too_much_is_pending(
    partitions: Assigned, number: int, size: int
) -> None:
    desk = Desk()
    batcher = MicroBatcher(partitions, desk.work, max_batch=10, max_pending=number)
    for offset in range(2):
        await batcher.offer(Record(0, offset, value=bytes(size)))
    waiting = asyncio.create_task(batcher.offer(Record(0, 2, value=bytes(size))))
    await let_run()
    assert not waiting.done()
    running = asyncio.create_task(batcher.run())
    await let_run()
    assert waiting.done()
    running.cancel()


async def test_work_waits_while_too_much_is_uncommitted(partitions: Assigned) -> None:
    desk = Desk()
    batcher = MicroBatcher(partitions, desk.work, max_batch=2, max_pending=4)
    running = asyncio.create_task(batcher.run())
    await offer(batcher, 6)
    assert sum(map(len, desk.batches)) == 4
    partitions.commit_all()
    await let_run()
    assert sum(map(len, desk.batches)) == 6
    running.cancel()


async def test_a_revocation_drops_what_was_read_and_what_is_being_worked_on(
    partitions: Assigned,
) -> None:
    desk = Desk()
    batcher = MicroBatcher(partitions, desk.work, max_batch=1, max_pending=100)
    running = asyncio.create_task(batcher.run())
    desk.is_open.clear()
    await offer(batcher, 3)
    await partitions.revoke()
    partitions.assign(0, generation=2)
    desk.is_open.set()
    await let_run()
    assert desk.batches == [[Record(0, 0)], [Record(0, 1)]]
    assert partitions.finished(0) == []
    again = Record(0, 0, generation_id=2)
    await batcher.offer(again)
    await let_run()
    assert desk.batches == [[Record(0, 0)], [Record(0, 1)], [again]]
    assert partitions.finished(0) == [0]
    running.cancel()


async def test_a_revocation_frees_whoever_waits_to_hand_in_more(partitions: Assigned) -> None:
    batcher = MicroBatcher(partitions, Desk().work, max_batch=1, max_pending=1)
    waiting = asyncio.create_task(batcher.offer(Record(0, 0)))
    await let_run()
    assert not waiting.done()
    await partitions.revoke()
    await let_run()
    assert waiting.done()


async def test_draining_waits_for_all_that_was_read(partitions: Assigned) -> None:
    desk = Desk()
    batcher = MicroBatcher(partitions, desk.work, max_batch=1, max_pending=100)
    running = asyncio.create_task(batcher.run())
    desk.is_open.clear()
    for offset in range(3):
        await batcher.offer(Record(0, offset))
    draining = asyncio.create_task(batcher.drain())
    await let_run()
    assert not draining.done()
    desk.is_open.set()
    await let_run()
    assert len(desk.batches) == 3
    running.cancel()
    draining.cancel()
