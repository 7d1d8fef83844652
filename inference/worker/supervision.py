"""Keeps the engine alive: notices that it died or hangs, and starts it again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from inference.engine.protocol import Engine
from inference.scheduling.admission import Admission
from inference.worker.retries import back_off
from schemas.errors import EngineCrashed, EngineUnavailable, RequestError

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
#: Starts in a row that may fail before the worker leaves its partitions to others.
_MOST_STARTS = 3


class Supervision:
    """Watches one engine.

    While it is not there no request gets a turn. One that dies, or makes no progress for
    `stall_seconds` while something runs, is started anew, and what ran in it ends with
    EngineCrashed; a server of others (`is_ours` false) is only waited for.
    """

    def __init__(
        self,
        engine: Engine,
        admission: Admission,
        *,
        is_ours: bool,
        stall_seconds: float,
        end_running: Callable[[RequestError], None],
        prepare: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._is_ours = is_ours
        self._stall_seconds = stall_seconds
        self._end_running = end_running
        self._prepare = prepare
        self._clock = clock
        self._doubt = asyncio.Event()
        self._progress: int | None = None
        self._progressed_at = clock()
        self.restarts = 0
        self.not_ready: str | None = None

    def look_now(self) -> None:
        """Somebody met a dead engine: no more turns until it has been looked at."""
        self._admission.pause()
        self._doubt.set()

    async def run(self) -> None:
        """Watches until cancelled. Raises: EngineUnavailable where it can't be started again."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._doubt.wait()
            self._doubt.clear()
            problem = await self._problem()
            if problem is None:
                self._admission.resume()
            else:
                await self._recover(problem)

    async def _problem(self) -> str | None:
        if not await self._engine.healthy():
            return "it died" if self._is_ours else "it does not answer"
        progress, now = self._engine.progress(), self._clock()
        if progress != self._progress or progress is None or not self._admission.running:
            self._progress, self._progressed_at = progress, now
        elif now - self._progressed_at >= self._stall_seconds:
            return f"it has made no token for {self._stall_seconds:g} s"
        return None

    async def _recover(self, problem: str) -> None:
        log.error("the engine is not there: %s", problem)
        self._admission.pause()
        if self._is_ours:
            await self._restart(problem)
        else:
            self.not_ready = f"waiting for the engine: {problem}"
            while not await self._engine.healthy():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(_LOOK_SECONDS)
        self.not_ready = None
        self._progress, self._progressed_at = self._engine.progress(), self._clock()
        self._admission.resume()

    async def _restart(self, problem: str) -> None:
        self.not_ready = f"starting the engine again: {problem}"
        self._end_running(EngineCrashed(f"The engine was ended: {problem}."))
        for start in range(1, _MOST_STARTS + 1):
            await self._engine.stop()
            try:
                await self._engine.start()
                await self._prepare()
            except EngineUnavailable as error:
                log.error("start %d of %d failed: %s", start, _MOST_STARTS, error)
                if start == _MOST_STARTS:
                    raise
                await asyncio.sleep(back_off(start).total_seconds())
            else:
                self.restarts += 1
                log.info("the engine is there again")
                return
