"""What whoever waits for files from elsewhere is told meanwhile."""

from collections.abc import Callable
from time import monotonic
from typing import Final

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.status import Status

#: Whatever takes no longer is told nothing of.
_SILENT_SECONDS: Final = 2.0
#: Between two lines in a log; a terminal's one line changes with every piece that comes.
_LINE_SECONDS: Final = 10.0


class FetchDisplay:
    """How far it is: in the status line of a terminal, else a line every ten seconds."""

    def __init__(
        self, console: Console, status: Status, now: Callable[[], float] = monotonic
    ) -> None:
        self._console = console
        self._status = status
        self._now = now
        self._next_at = now() + _SILENT_SECONDS

    def received(self, url: str, received: int, size_bytes: int | None) -> None:
        """As a `Fetching` tells it."""
        now = self._now()
        if now < self._next_at:
            return
        whole = "" if size_bytes is None else f" of {decimal(size_bytes)}"
        told = f"Fetching {escape(url)}: {decimal(received)}{whole}"
        if self._console.is_terminal:
            self._status.update(told)
            return
        self._next_at = now + _LINE_SECONDS
        self._console.print(told, soft_wrap=True)
