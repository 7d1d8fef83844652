"""What becomes of an engine that dies, hangs, or can't be reached."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from inference.engine.echo import EchoEngine
from inference.engine.protocol import EngineLimits
from inference.scheduling.admission import Admission
from inference.worker.supervision import Supervision
from schemas.errors import EngineCrashed, EngineUnavailable, RequestError
from schemas.records import BaseModel, InferenceRequest, Origin, Query, Routing

LIMITS = EngineLimits(BaseModel("m"), 100, 4, 1, 1, 8)
REQUEST = InferenceRequest(Query(id="q", prompt="x"), Routing(), Origin("q", 0, 1))


class Mortal(EchoEngine):
    """An echo engine that can die, and whose starts can fail."""

    failing_starts = 0
    starts = 0

    async def start(self) -> None:
        self.starts += 1
        if self.failing_starts:
            self.failing_starts -= 1
            raise EngineUnavailable("no memory")
        await super().start()

    def die(self) -> None:
        self._started = False

    def hang(self) -> None:
        self._service_s = 3600.0

    def go_on(self) -> None:
        self._service_s = 0.0


class Watched:
    def __init__(self, *, is_ours: bool = True, stall_seconds: float = 60) -> None:
        self.engine = Mortal(LIMITS)
        self.admission = Admission(2)
        self.ended: list[RequestError] = []
        self.prepared = 0
        self.time = 0.0
        self.is_loading = False
        self.supervision = Supervision(
            self.engine,
            self.admission,
            is_ours=is_ours,
            stall_seconds=stall_seconds,
            end_running=self.ended.append,
            prepare=self._prepare,
            is_loading=lambda: self.is_loading,
            clock=lambda: self.time,
        )

    async def _prepare(self) -> None:
        self.prepared += 1


@asynccontextmanager
async def running(watched: Watched) -> AsyncIterator["asyncio.Task[None]"]:
    await watched.engine.start()
    task = asyncio.create_task(watched.supervision.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, EngineUnavailable):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_a_dead_engine_is_started_again_and_what_ran_in_it_ends() -> None:
    watched = Watched()
    async with running(watched):
        watched.engine.die()
        watched.supervision.look_now()
        await until(lambda: watched.supervision.restarts == 1)
        assert await watched.engine.healthy()
        assert [type(error) for error in watched.ended] == [EngineCrashed]
        assert watched.prepared == 1
        async with asyncio.timeout(5), watched.admission.turn(REQUEST):
            pass


async def test_nobody_gets_a_turn_while_it_is_away() -> None:
    watched = Watched()
    watched.engine.failing_starts = 0
    async with running(watched):
        watched.engine.failing_starts = 1
        watched.engine.die()
        watched.supervision.look_now()
        await until(lambda: watched.supervision.not_ready is not None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), watched.admission.turn(REQUEST):
                pass
        await until(lambda: watched.supervision.not_ready is None)
        assert watched.engine.starts == 3


async def test_doubts_that_prove_wrong_hold_nobody_up() -> None:
    watched = Watched()
    async with running(watched):
        watched.supervision.look_now()
        async with asyncio.timeout(5), watched.admission.turn(REQUEST):
            pass
        assert (watched.supervision.restarts, watched.ended) == (0, [])


async def test_an_engine_that_makes_no_token_is_started_again() -> None:
    watched = Watched()
    async with running(watched), watched.admission.turn(REQUEST):
        watched.supervision.look_now()
        await until(lambda: not watched.supervision._doubt.is_set())
        watched.time = 61.0
        watched.supervision.look_now()
        await until(lambda: watched.supervision.restarts == 1)
        assert "no token for 60 s" in str(watched.ended[0])


async def test_one_that_never_ends_loading_an_adapter_is_started_again() -> None:
    watched = Watched()
    watched.is_loading = True
    async with running(watched):
        watched.supervision.look_now()
        await until(lambda: not watched.supervision._doubt.is_set())
        watched.time = 61.0
        watched.supervision.look_now()
        await until(lambda: watched.supervision.restarts == 1)


async def test_an_idle_engine_is_not_taken_for_a_hanging_one() -> None:
    watched = Watched()
    async with running(watched):
        for time in (61.0, 200.0):
            watched.time = time
            watched.supervision.look_now()
            await until(lambda: not watched.supervision._doubt.is_set())
        assert watched.supervision.restarts == 0


async def test_one_that_never_starts_again_ends_the_supervision() -> None:
    watched = Watched()
    async with running(watched) as task:
        watched.engine.failing_starts = 3
        watched.engine.die()
        watched.supervision.look_now()
        with pytest.raises(EngineUnavailable, match="no memory"):
            async with asyncio.timeout(20):
                await task


async def test_a_server_of_others_is_only_waited_for() -> None:
    watched = Watched(is_ours=False)
    async with running(watched):
        watched.engine.die()
        watched.supervision.look_now()
        await until(lambda: watched.supervision.not_ready is not None)
        await EchoEngine.start(watched.engine)
        await until(lambda: watched.supervision.not_ready is None)
        assert (watched.engine.starts, watched.ended, watched.prepared) == (1, [], 0)


async def test_a_server_of_others_that_makes_no_token_is_waited_for_until_it_makes_one() -> None:
    watched = Watched(is_ours=False, stall_seconds=0.2)
    watched.engine.hang()
    async with running(watched):
        async with watched.admission.turn(REQUEST):
            watched.supervision.look_now()
            await until(lambda: not watched.supervision._doubt.is_set())
            watched.time = 1.0
            watched.supervision.look_now()
            await until(lambda: watched.supervision.not_ready is not None)
            assert "no token for 0.2 s" in str(watched.supervision.not_ready)
            assert [type(error) for error in watched.ended] == [EngineCrashed]
        assert await watched.engine.healthy()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), watched.admission.turn(REQUEST):
                pass
        watched.engine.go_on()
        await until(lambda: watched.supervision.not_ready is None)
        async with asyncio.timeout(5), watched.admission.turn(REQUEST):
            pass
        assert (watched.engine.starts, watched.supervision.restarts) == (1, 0)
