"""Places in a batch, given to whoever waits by rank and then in order of arrival."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic


@dataclass(slots=True)
class Place:
    """One place, in seconds of the monotonic clock.

    What it holds has begun when it came, or the moment the place was free, which may be a little
    before anybody noticed; `ends` is to be set to when it is done.
    """

    begun: float = 0.0
    ends: float = 0.0


class Slots:
    """``count`` places; at most that many are held at any time."""

    def __init__(self, count: int) -> None:
        self._free = [Place() for _ in range(count)]
        self._arrivals = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[Place]]] = []

    @asynccontextmanager
    async def hold(self, rank: int) -> AsyncIterator[Place]:
        """Wait for a place, the lowest ``rank`` first, and give it back at the end."""
        arrived = monotonic()
        place = await self._take(rank)
        place.begun = max(arrived, place.ends)
        place.ends = float("inf")
        try:
            yield place
        finally:
            self._hand_on(place)

    async def _take(self, rank: int) -> Place:
        if self._free:
            return self._free.pop()
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._arrivals), turn))
        try:
            return await turn
        except asyncio.CancelledError:
            # The place may have been handed over in the moment of the cancellation.
            if turn.done() and not turn.cancelled():
                self._hand_on(turn.result())
            raise

    def _hand_on(self, place: Place) -> None:
        place.ends = min(place.ends, monotonic())
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(place)
                return
        self._free.append(place)
