"""Somebody's fetching: who waits for it is told how far it is, and may end it."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import fsspec.asyn

T = TypeVar("T")

OnReceived = Callable[[str, int, int | None], None]
"""Told of a file's URL, how many of its bytes are here, and of how many, None where its server
doesn't say; on fsspec's thread."""


def told_to_nobody(url: str, received: int, size_bytes: int | None) -> None:
    """Where nobody waits for it."""


class Fetching:
    """What one thread fetches, piece by piece, and another may end."""

    def __init__(self, on_received: OnReceived = told_to_nobody) -> None:
        self.on_received = on_received
        self._work: Future[Any] | None = None
        self._is_ended = False

    def here(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it on fsspec's loop, and waits; not to be called on a loop.

        Raises CancelledError (of concurrent.futures) once it was ended.
        """
        running = asyncio.run_coroutine_threadsafe(work, fsspec.asyn.get_loop())
        self._work = running
        if self._is_ended:  # before the line above, so nobody cancelled this one
            running.cancel()
        return running.result()

    def end(self) -> None:
        """Ends what runs and all that would follow it."""
        self._is_ended = True
        if self._work is not None:
            self._work.cancel()
