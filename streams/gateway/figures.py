"""The adapters' figures of the last minutes: the metrics topic."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import AdapterMetrics
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader
from streams.registry.version import split_key


class Figures:
    """Windows that ended within `span` before the newest one that is known.

    By a version's `id@version`, each in the order of coming. What the routers write meanwhile is
    added, what is older is forgotten: of a version that has stopped, once its last window is.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        span: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._codec = codec
        self.span = span
        #: To merge them takes a thread some time, and several would hold up all else.
        self.turn = asyncio.Lock()
        self._now = now
        #: The version that was written last comes last.
        self._windows: OrderedDict[str, deque[AdapterMetrics]] = OrderedDict()
        self._takers: list[Callable[[AdapterMetrics], None]] = []
        topics = [settings.topics.metrics]
        self._reader = TableReader(settings, topics, self.on_record, since=now() - span)

    async def start(self) -> None:
        """Returns when the windows of the last `span` are known. Raises: KafkaError."""
        await self._reader.start()

    async def stop(self) -> None:
        """Ends following."""
        await self._reader.stop()

    def on_record(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        """A record of the metrics topic."""
        try:
            window = self._codec.decode(AdapterMetrics, value or b"")
        except DecodeError:
            # Of a version that this one can't read; the routers' own /metrics has the figure.
            return
        version = f"{window.adapter_id}@{window.adapter_version}"
        self._windows.setdefault(version, deque()).append(window)
        self._windows.move_to_end(version)
        oldest = self._now() - self.span
        self._has_ended(version, oldest)
        while self._windows and self._has_ended(next(iter(self._windows)), oldest):
            pass
        for take in self._takers:
            take(window)

    def _has_ended(self, version: str, oldest: datetime) -> bool:
        """Forgets what is too old of the version, and the version where nothing else is left."""
        windows = self._windows[version]
        while windows and windows[0].window_end < oldest:
            windows.popleft()
        if not windows:
            del self._windows[version]
        return not windows

    @contextmanager
    def followed(self, take: Callable[[AdapterMetrics], None]) -> Iterator[list[AdapterMetrics]]:
        """Within the block `take` is given what comes; the block itself has what is kept now."""
        self._takers.append(take)
        try:
            yield [window for windows in self._windows.values() for window in windows]
        finally:
            self._takers.remove(take)

    def of(self, name: str, length: timedelta) -> list[AdapterMetrics]:
        """The windows of a version, or of all of an id, that ended in the last `length`."""
        since = self._now() - length
        is_exact = bool(split_key(name)[1])
        keys = [name] if is_exact else [k for k in self._windows if split_key(k)[0] == name]
        return [
            window
            for key in keys
            for window in self._windows.get(key, ())
            if window.window_end >= since
        ]
