"""`lorelay batch`."""

import asyncio
import os.path
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISFIFO, S_ISREG
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.batch.lines import BadLine, Line, read_lines
from cli.batch.output import Output
from cli.batch.running import Batch, Plan
from cli.plain_errors import plain_errors
from cli.query_client import quieten_clients
from schemas.errors import ConfigurationError, LorelayError
from streams.kafka.settings import KafkaSettings


class LinesFailed(LorelayError):
    """Some lines have no answer but an error; the output has all of them."""

    code = "lines_failed"


def batch(
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl", help="Requests, one a line.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.jsonl", help="Answers, one a line.")],
    at_once: Annotated[int, typer.Option(min=1, help="Queries under way at a time.")] = 64,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a query may take that does not say.")
    ] = 600.0,
    run: Annotated[
        str, typer.Option(help="Another name asks everything anew, whatever was answered before.")
    ] = "",
) -> None:
    """Ask the requests of a file, in OpenAI's batch format, over the topics.

    A line of IN is {"custom_id", "method": "POST", "url": "/v1/chat/completions" or
    "/v1/completions", "body"}, one of OUT {"id", "custom_id", "response": {"status_code",
    "request_id", "body"}, "error"}, in the order of answering.

    Stopped or killed, the same command goes on: what OUT has is done, what was answered
    meanwhile is fetched, what is under way is waited for, and only the rest is asked. The exit
    status is 1 if some lines have an error for an answer.

    Examples:

      lorelay batch questions.jsonl answers.jsonl

      lorelay batch questions.jsonl again.jsonl --run again --at-once 256
    """
    quieten_clients()
    plan = Plan(KafkaSettings(), at_once, timeout, _since(source))
    console = Console(stderr=True, highlight=False)
    ids = {line.id for line in _lines(source, run)}
    if os.path.exists(target) and source.samefile(target):
        raise ConfigurationError(f"{source} has the requests: name another file for the answers.")
    with Output(target) as output:
        before = len(output.done & ids)
        found = asyncio.run(_run(console, plan, output, _lines(source, run), source.name, ids))
        failures = len(output.failed & ids)
    console.print(
        f"{len(ids):,} lines, of which {before:,} were in {target} already and {found:,} were "
        f"answered before; {failures:,} with errors."
    )
    if failures:
        raise LinesFailed(f"{failures:,} lines of {target} have an error for an answer.")


async def _run(
    console: Console,
    plan: Plan,
    output: Output,
    lines: Iterator[Line | BadLine],
    name: str,
    ids: set[str],
) -> int:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(name, total=len(ids), completed=len(output.done & ids))
        batch = Batch(plan, output, lambda: bar.advance(task))
        async with plain_errors(plan.settings):
            with _single():
                await batch.run(lines, ids)
    return batch.found


@contextmanager
def _single() -> Iterator[None]:
    """One of the errors that ended the workers, in place of their group."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


def _lines(source: Path, run: str) -> Iterator[Line | BadLine]:
    """Raises: ConfigurationError."""
    try:
        with source.open("rb") as file:
            yield from read_lines(file, run)
    except OSError as error:
        raise ConfigurationError(f"{source} can't be read ({error.strerror}).") from error


def _since(source: Path) -> datetime:
    """Nobody has asked what was not in the file yet. Raises: ConfigurationError."""
    try:
        found = source.stat()
    except OSError as error:
        raise ConfigurationError(f"{source} can't be read ({error.strerror}).") from error
    if not S_ISREG(found.st_mode):
        raise ConfigurationError(
            f"{source} can't be read more than once, as it is here and by whoever goes on: "
            "write what comes from a pipe to a file first."
            if S_ISFIFO(found.st_mode)
            else f"{source} can't be read: it is no file."
        )
    return datetime.fromtimestamp(found.st_mtime, UTC)
