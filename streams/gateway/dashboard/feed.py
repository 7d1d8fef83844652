"""One stream of events for all who look: made once, and only while somebody looks."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final

import orjson

from schemas.errors import Overloaded
from streams.gateway.bodies import event
from streams.gateway.dashboard.model import Snapshot

log = logging.getLogger(__name__)

Watch = Callable[[], AbstractAsyncContextManager[Callable[[], Snapshot]]]
"""Begins and ends the looking; within it the function tells what there is to see now."""

_MOST_VIEWERS: Final = 200
#: Events that wait for one viewer; one who lets more gather is dropped, and may come again.
_MOST_WAITING: Final = 15


class Viewer:
    """What waits for one who looks."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    def offer(self, sent: bytes) -> None:
        """An event for him, unless he is too slow."""
        if len(self._waiting) >= _MOST_WAITING:
            self.end()
        elif not self._over.is_set():
            self._waiting.append(sent)
            self._news.set()

    def end(self) -> None:
        """No more events; what waits is forgotten."""
        self._over.set()
        self._waiting.clear()
        self._news.set()

    async def ended(self) -> None:
        """Returns once there are no more events."""
        await self._over.wait()

    async def next(self) -> bytes | None:
        """The next event, once there is one; None where there are no more."""
        while not self._waiting:
            if self._over.is_set():
                return None
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


class Feed:
    """Hands every viewer all there is when he comes, and then what changes."""

    def __init__(self, watch: Watch, *, every: float = 1.0, linger: float = 10.0) -> None:
        self._watch = watch
        self._every = every
        self._linger = linger
        self._viewers: set[Viewer] = set()
        self._newcomers: set[Viewer] = set()
        self._watching: asyncio.Task[None] | None = None
        self._is_over = False

    def __len__(self) -> int:
        return len(self._viewers)

    @property
    def is_watching(self) -> bool:
        """Whether anything is read."""
        return self._watching is not None and not self._watching.done()

    @contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """Somebody looks, within the block. Raises: Overloaded."""
        if len(self._viewers) >= _MOST_VIEWERS:
            raise Overloaded(f"{_MOST_VIEWERS} look already, as many as are allowed.")
        viewer = Viewer()
        if self._is_over:
            viewer.end()
        self._viewers.add(viewer)
        self._newcomers.add(viewer)
        if not self.is_watching and not self._is_over:
            self._watching = asyncio.create_task(self._run(), name="dashboard")
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            self._newcomers.discard(viewer)

    async def start(self) -> None:
        """Nothing yet: it begins with the first viewer."""

    async def stop(self) -> None:
        """Ends every viewer's events, and the reading."""
        self._is_over = True
        for viewer in self._viewers:
            viewer.end()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    async def _run(self) -> None:
        # Somebody may come while what was read for others is being closed.
        while self._viewers:
            try:
                async with self._watch() as look:
                    await self._publish(look)
            except Exception:
                log.exception("the dashboard's feed failed")
                for viewer in self._viewers:
                    viewer.end()
                await asyncio.sleep(self._every)

    async def _publish(self, look: Callable[[], Snapshot]) -> None:
        """Until nobody has looked for a while: a page that is loaded anew finds it there."""
        loop = asyncio.get_running_loop()
        known: dict[str, bytes] = {}
        seen_at = loop.time()
        while self._viewers or loop.time() < seen_at + self._linger:
            if self._viewers:
                seen_at = loop.time()
            snapshot = look()
            found = {name: orjson.dumps(part) for name, part in snapshot.sections.items()}
            changed = {name: part for name, part in found.items() if known.get(name) != part}
            known = found
            whole: bytes | None = None
            patch = _event(changed, {"news": snapshot.news} if snapshot.news else {})
            for viewer in tuple(self._viewers):
                if viewer in self._newcomers:
                    whole = whole or _event(found, {"latest": snapshot.latest})
                    viewer.offer(whole)
                else:
                    viewer.offer(patch)
            self._newcomers.clear()
            await asyncio.sleep(self._every)


def _event(sections: Mapping[str, bytes], rows: Mapping[str, Any]) -> bytes:
    parts = {name: orjson.Fragment(part) for name, part in sections.items()}
    return event({**parts, **rows})
