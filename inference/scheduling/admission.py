"""How many requests the engine has at once, and who goes next."""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from inference.scheduling.scheduler import Scheduler
from schemas.records import InferenceRequest

#: What an answer is taken to cost where the query sets no limit, in tokens.
_ANSWER_TOKENS = 256
#: About the characters of a token in German and English.
_CHARACTERS = 4
#: An adapter that had so many turns in a row is alone: nobody needs what it would leave free.
_ALONE_AFTER = 500


@dataclass(eq=False, slots=True)
class _Turn:
    """One request's wait for its turn; `granted` is done once it may go.

    Its result is whether the request overtakes what waits in the engine.
    """

    granted: "asyncio.Future[bool]"
    flow: tuple[int, str | None]
    is_alone: bool


class Admission:
    """Lets `places` requests run at once; the others wait in the scheduler's order.

    Where the engine has more of them than it runs, what waits there has left that order. So
    `overtaking` more may join them whose adapter has been idle, and are to go before them.
    While others ask, too, an adapter that has more than half of the places begins no more of that
    priority where `unreserved` requests run: who comes next finds a place free.
    A request that has crashed an engine runs alone: should it do so again, it is known which.
    """

    def __init__(self, places: int, overtaking: int = 0, unreserved: float = math.inf) -> None:
        self._places = places
        self._overtaking = overtaking
        self._unreserved = unreserved
        self._scheduler: Scheduler[_Turn] = Scheduler()
        self._returning: deque[_Turn] = deque()
        self._suspects: deque[_Turn] = deque()
        self._running = 0
        self._running_of: Counter[tuple[int, str | None]] = Counter()
        self._dominant: set[tuple[int, str | None]] = set()
        self._latest: str | None = None
        self._in_a_row = 0
        self._is_alone = False
        self._is_paused = False
        self._on_crowded: Callable[[], None] = lambda: None

    def listen(self, on_crowded: Callable[[], None]) -> None:
        """Whom to tell when a request has to wait for its turn, or must have the engine alone."""
        self._on_crowded = on_crowded

    @property
    def is_roomy(self) -> bool:
        """Whether nobody waits, or has to be alone, and half of the places are free."""
        is_open = not self._is_paused and not self._is_alone
        return is_open and not self.waiting and self._running * 2 <= self._places

    @property
    def running(self) -> int:
        """How many requests have their turn."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many requests wait for it."""
        return len(self._scheduler) + len(self._returning) + len(self._suspects)

    def upcoming(self) -> Iterator[str]:
        """The adapters of what waits, each once, about in the order of their turns."""
        return self._scheduler.upcoming()

    @contextmanager
    def holding(self, adapter: str) -> Iterator[None]:
        """Requests for the adapter get no turn meanwhile, but for those that have waited."""
        self._scheduler.hold(adapter)
        try:
            yield
        finally:
            self._scheduler.free(adapter)
            self._give_turns()

    def pause(self) -> None:
        """Nobody gets a turn until `resume`; those that have one go on."""
        self._is_paused = True

    def resume(self) -> None:
        """Turns are given again."""
        self._is_paused = False
        self._give_turns()

    @asynccontextmanager
    async def turn(
        self, request: InferenceRequest, *, has_waited: bool = False
    ) -> AsyncIterator[bool]:
        """The request's turn; waits for it. One that gave a turn back (``has_waited``) is next.

        It is told whether it goes before what waits in the engine.
        """
        granted = asyncio.get_running_loop().create_future()
        flow = (request.query.priority, request.routing.adapter)
        turn = _Turn(granted, flow, request.crashes > 0)
        self._queue(turn, request, has_waited)
        self._give_turns()
        if turn.is_alone or not turn.granted.done():
            self._on_crowded()
        try:
            overtakes = await turn.granted
        except asyncio.CancelledError:
            if turn.granted.done() and not turn.granted.cancelled():
                # It was given in the moment of the cancellation.
                self._end(turn)
            elif not self._scheduler.remove(turn):
                waiting = self._suspects if turn.is_alone else self._returning
                if turn in waiting:
                    waiting.remove(turn)
            raise
        try:
            yield overtakes
        finally:
            self._end(turn)

    def _queue(self, turn: _Turn, request: InferenceRequest, has_waited: bool) -> None:
        if turn.is_alone or has_waited:
            (self._suspects if turn.is_alone else self._returning).append(turn)
            return
        self._scheduler.push(
            turn,
            priority=request.query.priority,
            adapter=request.routing.adapter,
            tenant=request.query.tenant,
            cost=estimated_tokens(request),
        )

    def _end(self, turn: _Turn) -> None:
        self._running -= 1
        self._running_of[turn.flow] -= 1
        self._bound(turn.flow)
        if turn.is_alone:
            self._is_alone = False
        self._give_turns()

    def _give_turns(self) -> None:
        while not self._is_paused and not self._is_alone:
            overtakes = False
            is_full = self._running >= self._places
            if self._suspects:
                if self._running:
                    return
                turn = self._suspects.popleft()
            elif self._returning:
                if is_full:
                    return
                turn = self._returning.popleft()
            else:
                overtakes = self._scheduler.is_next_fresh
                if is_full and not (overtakes and self._running < self._places + self._overtaking):
                    return
                if (waiting := self._scheduler.pop()) is None:
                    return
                turn = waiting
            if turn.granted.cancelled():
                continue  # it has given up a moment ago, and is yet to notice
            self._is_alone = turn.is_alone
            self._begin(turn)
            turn.granted.set_result(overtakes)

    def _begin(self, turn: _Turn) -> None:
        self._running += 1
        self._running_of[turn.flow] += 1
        _, adapter = turn.flow
        self._in_a_row = self._in_a_row + 1 if adapter == self._latest else 1
        self._latest = adapter
        self._bound(turn.flow)

    def _bound(self, flow: tuple[int, str | None]) -> None:
        """Leaves who has most places out of the order where it has to leave the others free."""
        if 2 * self._running_of[flow] > self._unreserved:
            self._dominant.add(flow)
        else:
            self._dominant.discard(flow)
        if not self._running_of[flow]:
            del self._running_of[flow]
        is_full = self._running >= self._unreserved and self._in_a_row < _ALONE_AFTER
        self._scheduler.bound(set(self._dominant) if is_full else set())


def estimated_tokens(request: InferenceRequest) -> float:
    """About what the request will take, in tokens of prompt and answer."""
    query = request.query
    characters = len(query.prompt or "") + sum(len(m.content) for m in query.messages)
    return characters / _CHARACTERS + (query.sampling.max_tokens or _ANSWER_TOKENS)
