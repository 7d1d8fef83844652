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


#: Turns the messages of a batch into the outputs of each, in the same order. Must not raise.
Work = Callable[[Sequence[Arrival]], Awaitable[Sequence[Sequence[Output]]]]


class MicroBatcher:
    """Feeds batches of arrivals to `work` while the previous ones are being committed.

    Batches span partitions, so the encoder sees as many texts at once as there are; their
    outputs are committed by partition.
    """

    def __init__(
        self, partitions: OwnedPartitions, work: Work, *, max_batch: int, max_pending: int
    ) -> None:
        self._partitions = partitions
        self._work = work
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._arrivals: deque[tuple[PartitionOwner, Arrival]] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._is_working = False
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
        self._arrived.set()
        while len(self._arrivals) >= self._max_pending:
            self._room.clear()
            await self._room.wait()

    def _discard(self) -> None:
        """Forgets what was read under an assignment that is gone."""
        self._arrivals.clear()
        self._room.set()

    async def drain(self) -> None:
        """Waits until all that was read is committed."""
        while self._arrivals or self._is_working:
            self._room.clear()
            await self._room.wait()
        await self._partitions.flush()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            while not self._arrivals:
                self._is_working = False
                self._room.set()
                self._arrived.clear()
                await self._arrived.wait()
            self._is_working = True
            while self._partitions.uncommitted() >= self._max_pending:
                self._room.clear()
                await self._room.wait()
            await self._work_batch()

    async def _work_batch(self) -> None:
        count = min(len(self._arrivals), self._max_batch)
        taken = [self._arrivals.popleft() for _ in range(count)]
        self._room.set()
        current = [item for item in taken if self._partitions.is_current(item[0])]
        if not current:
            return
        results = await self._work([arrival for _, arrival in current])
        for (owner, arrival), outputs in zip(current, results, strict=True):
            self._partitions.finish(owner, arrival.message.offset, outputs)
