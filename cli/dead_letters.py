"""`lorelay dead-letters`: list, show, redrive and purge."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from cli.dead_letter_display import as_json as letter_json
from cli.dead_letter_display import counted, details, lines, plan_lines
from cli.plain_errors import plain_errors
from cli.printable import printable
from cli.query_client import quieten_clients
from schemas.codec import Codec
from schemas.errors import ConfigurationError, LorelayError
from schemas.json_form import to_json
from streams.kafka.dead_letters.filter import Filter
from streams.kafka.dead_letters.letter import DeadLetter, original_record
from streams.kafka.dead_letters.reader import read_dead_letters
from streams.kafka.dead_letters.redrive import Plan, plan_redrive
from streams.kafka.dead_letters.writer import DeadLetterWriter
from streams.kafka.settings import KafkaSettings
from streams.kafka.writer_schemas import open_codec

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)

_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Origins = Annotated[
    list[str] | None,
    typer.Argument(metavar="ORIGIN", help="topic/partition/offset, as `list` shows it."),
]
QueryId = Annotated[str | None, typer.Option("--id", help="Only those of this query id.")]
Error = Annotated[
    str | None, typer.Option(metavar="CODE|CATEGORY", help="Only those with this error.")
]
Adapter = Annotated[str | None, typer.Option(help="Only those for this id or id@version.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="2h|TIME", help="Dead since then: s, m, h or d ago, or ISO 8601."),
]
Until = Annotated[str | None, typer.Option(metavar="2h|TIME", help="Dead until then.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


class NoSuchDeadLetter(LorelayError):
    """An origin that was named is not on the topic."""

    code = "no_such_dead_letter"


@app.command("list")
def list_letters(
    query_id: QueryId = None,
    error: Error = None,
    adapter: Adapter = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """List the dead letters, the oldest first; options narrow the list down together.

    Examples:

    lorelay dead-letters list --since 2h

    lorelay dead-letters list --error engine --adapter legal-qa-v1

    lorelay dead-letters list --json | jq -r '.[].origin'
    """
    quieten_clients()
    wanted = _filter(None, query_id, error, adapter, since, until)
    letters = asyncio.run(_read(KafkaSettings(), wanted))
    if as_json:
        typer.echo(json.dumps([letter_json(each) for each in letters], ensure_ascii=False))
    elif letters:
        _print_lines(Console(highlight=False), letters)
    else:
        Console().print(_nothing(wanted))


def _print_lines(console: Console, letters: Sequence[DeadLetter]) -> None:
    for line in lines(letters):
        console.print(line, soft_wrap=True)


@app.command()
def show(
    origin: Annotated[str, typer.Argument(metavar="ORIGIN", help="topic/partition/offset.")],
    as_json: Json = False,
    text: Annotated[
        bool, typer.Option("--text", help="The original, too: it may hold somebody's prompt.")
    ] = False,
    to_file: Annotated[
        Path | None, typer.Option("--bytes", metavar="FILE", help="Write the original bytes there.")
    ] = None,
) -> None:
    """Show one dead letter: its error, its key and headers; the original only if asked for.

    Examples:

    lorelay dead-letters show lorelay.queries/0/41

    lorelay dead-letters show lorelay.queries/0/41 --text

    lorelay dead-letters show lorelay.requests/2/7 --bytes request.avro
    """
    quieten_clients()
    (letter,) = asyncio.run(_read(KafkaSettings(), _filter([origin])))
    original = _original(letter) if text else None
    if to_file is not None:
        _save(letter, to_file)
    if as_json:
        found = letter_json(letter) | ({"text": original} if text else {})
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    console.print(details(letter))
    for line in (original or "").splitlines():
        console.print(escape(printable(line)), soft_wrap=True)


@app.command()
def redrive(
    origins: Origins = None,
    query_id: QueryId = None,
    error: Error = None,
    adapter: Adapter = None,
    since: Since = None,
    until: Until = None,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that have been redriven already.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be redriven.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Write the original records to their topics again, each exactly once.

    A redriven record is a new one, whose headers name its dead letter, and gets a response of its
    own. The dead letter stays, marked, and is skipped from then on. The command may be stopped
    and repeated at any time. Of two at once the first one stops and says so.

    The exit status is 1 if one was refused; the others are redriven all the same.

    Examples:

    lorelay dead-letters redrive lorelay.queries/0/41

    lorelay dead-letters redrive --error engine --since 1d --dry-run

    lorelay dead-letters redrive --all --yes
    """
    quieten_clients()
    wanted = _filter(origins, query_id, error, adapter, since, until)
    if wanted.is_empty != everything:
        raise ConfigurationError("Say which: origins, or options that narrow, or --all alone.")
    refused = asyncio.run(_redrive(KafkaSettings(), wanted, again, dry_run, yes))
    if refused:
        raise typer.Exit(1)


@app.command()
def purge(
    origins: Origins = None,
    query_id: QueryId = None,
    error: Error = None,
    adapter: Adapter = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
) -> None:
    """Remove dead letters for good; the records they were made of are gone with them.

    Examples:

    lorelay dead-letters purge lorelay.queries/0/41

    lorelay dead-letters purge --until 30d --yes
    """
    quieten_clients()
    wanted = _filter(origins, query_id, error, adapter, since, until)
    if wanted.is_empty:
        raise ConfigurationError("Say which: origins, or options that narrow.")
    asyncio.run(_purge(KafkaSettings(), wanted, yes))


def parse_time(text: str, now: datetime) -> datetime:
    """A time ago (`90s`, `15m`, `2h`, `7d`) or ISO 8601, local where it names no zone.

    Raises: ConfigurationError.
    """
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text} is no time: write 90s, 15m, 2h or 7d (ago), or 2026-01-31T12:00."
        ) from None


def _filter(
    origins: Sequence[str] | None,
    query_id: str | None = None,
    error: str | None = None,
    adapter: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Filter:
    now = datetime.now(UTC)
    return Filter(
        origins=frozenset(origins) if origins else None,
        query_id=query_id,
        error=error,
        adapter=adapter,
        since=None if since is None else parse_time(since, now),
        until=None if until is None else parse_time(until, now),
    )


async def _read(settings: KafkaSettings, wanted: Filter) -> list[DeadLetter]:
    """Those that match. Raises: NoSuchDeadLetter where one that is named is not there."""
    told = Console(stderr=True)
    async with plain_errors(settings):
        with told.status("Reading the dead letters") as status:
            letters = await read_dead_letters(
                settings,
                Codec(),
                wanted.matches,
                lambda count: status.update(f"Reading the dead letters: {count:,}"),
            )
    missing = (wanted.origins or frozenset()) - {letter.origin for letter in letters}
    if missing:
        narrowed = wanted != Filter(origins=wanted.origins)
        raise NoSuchDeadLetter(
            f"There is no dead letter {', '.join(sorted(missing))}"
            f"{' that matches' if narrowed else ''}: `lorelay dead-letters list` shows them."
        )
    return letters


async def _redrive(
    settings: KafkaSettings, wanted: Filter, again: bool, dry_run: bool, yes: bool
) -> int:
    """How many were refused."""
    console, told = Console(highlight=False), Console(stderr=True, highlight=False)

    def planned(letters: Sequence[DeadLetter]) -> Plan:
        limit = settings.max_record_bytes
        return plan_redrive(letters, settings.topics, max_bytes=limit, again=again)

    letters = await _read(settings, wanted)
    plan = planned(letters)
    for line in plan_lines(plan):
        told.print(line, soft_wrap=True)
    if not plan.ready:
        console.print("Nothing to redrive." if letters else _nothing(wanted))
    elif dry_run:
        _print_lines(console, plan.ready)
        console.print(f"{counted(len(plan.ready))} would be redriven.")
    else:
        if not yes:
            typer.confirm(f"Redrive {counted(len(plan.ready))}?", abort=True)
        # What is marked by now is skipped, and what has come meanwhile was not agreed to.
        with told.status("Redriving") as status:
            async with plain_errors(settings), _writer(settings, plan.ready) as writer:
                ready = planned(writer.letters).ready
                await writer.redrive(
                    ready,
                    datetime.now(UTC),
                    lambda done: status.update(f"Redriving: {done:,} of {len(ready):,}"),
                )
        console.print(f"[green]redriven[/] {counted(len(ready))}")
    return len(plan.refused)


async def _purge(settings: KafkaSettings, wanted: Filter, yes: bool) -> None:
    console, told = Console(highlight=False), Console(stderr=True, highlight=False)
    letters = await _read(settings, wanted)
    if not letters:
        console.print(_nothing(wanted))
        return
    if not yes:
        typer.confirm(f"Remove {counted(len(letters))} for good?", abort=True)
    with told.status("Purging") as status:
        async with plain_errors(settings), _writer(settings, letters) as writer:
            total = len(writer.letters)
            await writer.purge(
                writer.letters, lambda done: status.update(f"Purging: {done:,} of {total:,}")
            )
    console.print(f"[green]purged[/] {counted(total)}")


@asynccontextmanager
async def _writer(
    settings: KafkaSettings, chosen: Sequence[DeadLetter]
) -> AsyncIterator[DeadLetterWriter]:
    origins = frozenset(letter.origin for letter in chosen)
    codec = await open_codec(settings)
    async with DeadLetterWriter(settings, codec, Filter(origins=origins).matches) as writer:
        yield writer


def _original(letter: DeadLetter) -> str:
    record = original_record(Codec(), letter.value)
    if record is None:
        return letter.value.decode(errors="backslashreplace")
    return to_json(record, indent=True)


def _save(letter: DeadLetter, file: Path) -> None:
    try:
        file.write_bytes(letter.value)
    except OSError as error:
        raise ConfigurationError(f"{file} can't be written: {error.strerror}.") from error


def _nothing(wanted: Filter) -> str:
    return "There are no dead letters." if wanted.is_empty else "No dead letter matches."
