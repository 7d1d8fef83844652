"""Keeps the engine alive: notices that it died or hangs, and starts it again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from time import monotonic
from typing import NamedTuple

from inference.engine.protocol import Engine, Generation
from inference.scheduling.admission import Admission
from inference.worker.retries import back_off
from schemas.errors import EngineCrashed, EngineUnavailable, RequestError
from schemas.records import Sampling

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
#: Starts in a row that may fail before the worker leaves its partitions to others.
_MOST_STARTS = 3
#: The least work that shows whether an engine hangs still.
_PROBE = Generation("probe", "1", sampling=Sampling(max_tokens=1))


class _Trouble(NamedTuple):
    """What is wrong with the engine; one that hangs is there but does nothing."""

    what: str
    is_hanging: bool = False


class Supervision:
    """Watches one engine.

    While it is not there no request gets a turn. One that dies, or makes no progress for
    `stall_seconds` while something runs or `is_loading`, is started anew, and what ran in it ends
    with EngineCrashed. A server of others (`is_ours` false) is only waited for; what runs there
    ends if it hangs.
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
        is_loading: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._is_ours = is_ours
        self._stall_seconds = stall_seconds
        self._end_running = end_running
        self._prepare = prepare
        self._is_loading = is_loading
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
            trouble = await self._trouble()
            if trouble is None:
                self._admission.resume()
            else:
                await self._recover(trouble)

    async def _trouble(self) -> _Trouble | None:
        if not await self._engine.healthy():
            return _Trouble("it died" if self._is_ours else "it does not answer")
        is_busy = self._admission.running or self._is_loading()
        progress = await self._engine.progress() if is_busy else None
        now = self._clock()
        if progress is None or progress != self._progress:
            self._progress, self._progressed_at = progress, now
        elif now - self._progressed_at >= self._stall_seconds:
            return _Trouble(f"it has made no token for {self._stall_seconds:g} s", is_hanging=True)
        return None

    async def _recover(self, trouble: _Trouble) -> None:
        log.error("the engine is not there: %s", trouble.what)
        self._admission.pause()
        if self._is_ours:
            await self._restart(trouble.what)
        else:
            await self._wait_for_server(trouble)
        self.not_ready = self._progress = None
        self._admission.resume()

    async def _wait_for_server(self, trouble: _Trouble) -> None:
        self.not_ready = f"waiting for the engine: {trouble.what}"
        if trouble.is_hanging:
            self._end_running(EngineCrashed(f"The server hangs: {trouble.what}."))
        # One that hangs may well say that it is healthy: only a token shows that it is.
        is_back = self._makes_a_token if trouble.is_hanging else self._engine.healthy
        while not await is_back():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(_LOOK_SECONDS)
        log.info("the engine is there again")

    async def _makes_a_token(self) -> bool:
        try:
            async with (
                asyncio.timeout(self._stall_seconds),
                aclosing(self._engine.generate(_PROBE)) as parts,
            ):
                return bool([part async for part in parts])
        except (RequestError, TimeoutError):
            return False

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
