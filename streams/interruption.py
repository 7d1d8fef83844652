"""Ending a request from outside while it waits: a cancel, a deadline, an engine that died."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import RequestError


class Interruption:
    """What may end a running request. Where several do, the first reason counts."""

    def __init__(self) -> None:
        self._ended_by: RequestError | None = None
        self._waiting: asyncio.Task[object] | None = None

    def end(self, reason: RequestError) -> None:
        """Have it end with ``reason``, unless another reason was first."""
        if self._ended_by is None:
            self._ended_by = reason
            if self._waiting is not None:
                self._waiting.cancel()

    @property
    def reason(self) -> RequestError | None:
        """What ended the request, if anything did."""
        return self._ended_by

    def check(self) -> None:
        """Raise what ended the request, if anything did."""
        if self._ended_by is not None:
            raise self._ended_by

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let ``end`` interrupt an await inside; it raises the reason in place of its result.

        The task is cancelled and un-cancelled as ``asyncio.timeout`` does it, and only while it
        is inside: a caller that handles a Delta meanwhile is not disturbed.
        """
        self.check()
        task = asyncio.current_task()
        assert task is not None, "only a task can be interrupted"
        others = task.cancelling()
        self._waiting = task
        try:
            yield
        except asyncio.CancelledError:
            if self._ended_by is not None and task.uncancel() <= others:
                raise self._ended_by from None
            raise
        finally:
            self._waiting = None
