"""`lorelay logs`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli.stack.folder import StackFolder
from schemas.errors import ConfigurationError

_BLOCK_BYTES = 64 * 1024
_POLL_SECONDS = 0.2


def logs(
    name: Annotated[str, typer.Argument(help="kafka, router, worker, router-2, ...")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
) -> None:
    """Show the last lines of a process's log."""
    log = StackFolder(Path(".lorelay")).log_file(name)
    if not log.is_file():
        known = sorted(path.stem for path in log.parent.glob("*.log"))
        there = f"there are logs of {', '.join(known)}" if known else "nothing was started here"
        raise ConfigurationError(f"There is no log of {name!r}; {there}.")
    for line in last_lines(log, lines):
        typer.echo(line)
    if follow:
        for text in _appended(log):
            typer.echo(text, nl=False)


def last_lines(log: Path, count: int) -> list[str]:
    """The last ``count`` lines of a file, read from its end."""
    if count == 0 or not log.is_file():
        return []
    with log.open("rb") as file:
        position = file.seek(0, 2)
        tail = b""
        while position > 0 and tail.count(b"\n") <= count:
            step = min(_BLOCK_BYTES, position)
            position = file.seek(position - step)
            tail = file.read(step) + tail
    return tail.decode(errors="replace").splitlines()[-count:]


def _appended(log: Path) -> Iterator[str]:
    """What is written to ``log`` from now on; begins anew when it is replaced."""
    position = log.stat().st_size
    while True:
        size = log.stat().st_size if log.exists() else 0
        if size < position:
            position = 0
        if size > position:
            with log.open("rb") as file:
                file.seek(position)
                new = file.read(size - position)
            position = size
            yield new.decode(errors="replace")
        else:
            time.sleep(_POLL_SECONDS)
