"""Micro-batches that take what has arrived and never wait for more."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from streams.kafka.output import Output
from streams.kafka.owner import PartitionOwner
from streams.router.partitions import OwnedPartitions


@dataclass(frozen=True, slots=True)
class Arrival:
    """A Kafka message and when it was read (`perf_counter` seconds)."""

    message: Any
    at: float


#: Turns the messages of a batch into the outputs of each, in the same order. What it raises ends
#: the batcher.
Work = Callable[[Sequence[Arrival]], Awaitable[Sequence[Sequence[Output]]]]


#: Bytes of messages that may be pending: large ones are far fewer than ``max_pending``.
MAX_PENDING_BYTES = 64 * 1024 * 1024
#: Batches at work at a time: one is encoded while the one before is scored and made into records.
AT_WORK = 2


class MicroBatcher:
    """Feeds batches of arrivals to `work` while the previous ones are being committed.

    Batches span partitions, so the encoder sees as many texts at once as there are; their
    outputs are committed by partition, in the order of arrival. A batch begins beside another one
    only if it is full: fewer texts are better encoded together, later.
    """

    def __init__(
        self, partitions: OwnedPartitions, work: Work, *, max_batch: int, max_pending: int
    ) -> None:
        self._partitions = partitions
        self._work = work
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._arrivals: deque[tuple[PartitionOwner, Arrival]] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._taking = asyncio.Lock()
        self._at_work = 0
        self._finished = asyncio.Event()
        self._finished.set()
        partitions.listen(self._room.set, self._discard)

    @property
    def in_flight(self) -> int:
        """Messages read and not committed."""
        return len(self._arrivals) + self._partitions.uncommitted()

    async def offer(self, message: Any) -> None:
        """Takes a message in; waits while too many are pending, which pauses the fetching."""
        owner = self._partitions.accept(message)
        if owner is None:
            return
        self._arrivals.append((owner, Arrival(message, perf_counter())))
        self._bytes += _size(message)
        if len(self._arrivals) >= self._least:
            self._arrived.set()
        while len(self._arrivals) >= self._max_pending or self._bytes >= MAX_PENDING_BYTES:
            self._room.clear()
            await self._room.wait()

    def _discard(self) -> None:
        """Forgets what was read under an assignment that is gone."""
        self._arrivals.clear()
        self._bytes = 0
        self._room.set()

    async def drain(self) -> None:
        """Waits until all that was read is committed."""
        while self._arrivals or self._at_work:
            self._room.clear()
            await self._room.wait()
        await self._partitions.flush()

    async def run(self) -> None:
        """Works until cancelled."""
        turns = [asyncio.create_task(self._take_turns()) for _ in range(AT_WORK)]
        try:
            await asyncio.gather(*turns)
        finally:
            for turn in turns:
                turn.cancel()
            # Nobody finishes it any more, and nobody is to wait for that.
            self._at_work = 0
            self._discard()

    async def _take_turns(self) -> None:
        while True:
            async with self._taking:
                batch = await self._next_batch()
                before, self._finished = self._finished, asyncio.Event()
                finished = self._finished
            results = await self._work([arrival for _, arrival in batch])
            await before.wait()
            for (owner, arrival), outputs in zip(batch, results, strict=True):
                self._partitions.finish(owner, arrival.message.offset, outputs)
            finished.set()
            self._at_work -= 1
            self._arrived.set()
            self._room.set()

    @property
    def _least(self) -> int:
        """Arrivals that the next batch is begun with."""
        return self._max_batch if self._at_work else 1

    async def _next_batch(self) -> list[tuple[PartitionOwner, Arrival]]:
        while True:
            if len(self._arrivals) < self._least:
                self._arrived.clear()
                await self._arrived.wait()
            elif self._partitions.uncommitted() >= self._max_pending:
                self._room.clear()
                await self._room.wait()
            elif batch := self._taken():
                self._at_work += 1
                return batch

    def _taken(self) -> list[tuple[PartitionOwner, Arrival]]:
        count = min(len(self._arrivals), self._max_batch)
        taken = [self._arrivals.popleft() for _ in range(count)]
        self._bytes -= sum(_size(arrival.message) for _, arrival in taken)
        self._room.set()
        return [item for item in taken if self._partitions.is_current(item[0])]


def _size(message: Any) -> int:
    return len(message.value or b"")
