"""The chunks topic, read only while somebody streams."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiokafka.errors import KafkaError

from streams.gateway.tail import Tail

log = logging.getLogger(__name__)

_LINGER_SECONDS: Final = 30.0


class Chunks:
    """Shares one reader of all chunks among the streams that are open.

    All partitions while any stream is open: a fetch that waits for one partition holds up a
    later one for another, and a gateway with many streams reads them all anyway. It goes on for
    a while after the last one: to begin again costs the next stream's first chunk some time.
    """

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._open = 0
        self._is_reading = False
        self._lock = asyncio.Lock()
        self._pausing: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Connects. Raises: KafkaError."""
        await self._tail.connect()

    async def stop(self) -> None:
        """Disconnects."""
        self._stay()
        await self._tail.stop()

    @property
    def open(self) -> int:
        """How many streams are open."""
        return self._open

    @contextmanager
    def held(self) -> Iterator[None]:
        """For a stream: chunks are read, from `follow` to the end of the block."""
        self._open += 1
        self._stay()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                loop = asyncio.get_running_loop()
                self._pausing = loop.call_later(_LINGER_SECONDS, self._pause)

    async def follow(self) -> None:
        """Returns when what is written from now on will be read."""
        async with self._lock:
            if self._is_reading:
                return
            try:
                await self._tail.resume()
            except KafkaError as error:
                # Chunks are no promise: the response brings the whole text.
                log.warning("chunks can't be read now: %r", error)
                return
            self._is_reading = True

    def _stay(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()
            self._pausing = None

    def _pause(self) -> None:
        self._is_reading = False
        self._tail.pause()
