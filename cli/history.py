"""`lorelay adapters history`."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from cli.plain_errors import plain_errors
from cli.printable import printable, printable_lines
from cli.query_client import quieten_clients
from cli.versions import sentence
from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.json_form import to_json
from schemas.records import LifecycleEvent
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader

_INDENT = (0, 0, 0, 4)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def history(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A family, an id or id@version; else everything."),
    ] = None,
    last: Annotated[
        int, typer.Option("--last", "-n", min=1, help="How many events to show, the newest.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Show who changed what, when, why and on which figures.

    Examples:

    lorelay adapters history legal-qa

    lorelay adapters history legal-qa-v2@2.0.0 --json | jq .figures
    """
    quieten_clients()
    events, unreadable = asyncio.run(read_events(KafkaSettings()))
    shown = [event for event in events if name is None or _concerns(event, name)][-last:]
    if as_json:
        for event in shown:
            typer.echo(to_json(event))
        return
    console = Console(highlight=False)
    if not shown:
        whose = f" of {name}" if name else ""
        console.print(f"There is no event{whose}: `lorelay adapters list` shows what there is.")
    for event in shown:
        _print(console, event)
    if unreadable:
        console.print(f"[yellow]Note:[/] {unreadable} events can't be read by this version.")


async def read_events(settings: KafkaSettings) -> tuple[list[LifecycleEvent], int]:
    """All events in order of time, and how many could not be read. Raises as `plain_errors`."""
    codec = Codec()
    values: list[bytes] = []

    def on_record(topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            return
        if topic == settings.topics.lifecycle:
            values.append(value)
            return
        try:
            codec.learn(value.decode())
        except (DecodeError, UnicodeDecodeError):
            return  # what is written with it is counted as unreadable

    reader = TableReader(settings, [settings.topics.schemas, settings.topics.lifecycle], on_record)
    async with plain_errors(settings):
        try:
            await reader.start()
        finally:
            await reader.stop()
    events = []
    for value in values:
        try:
            events.append(codec.decode(LifecycleEvent, value))
        except DecodeError:
            continue
    events.sort(key=lambda event: event.created_at or _EPOCH)
    return events, len(values) - len(events)


def _concerns(event: LifecycleEvent, name: str) -> bool:
    """Whether the event is about that family, id or version; a split is about all it names."""
    if name == event.family:
        return True
    keys = {event.adapter, *event.shares} - {None}
    return any(name in (key, str(key).partition("@")[0]) for key in keys)


def _print(console: Console, event: LifecycleEvent) -> None:
    """An event as an entry of a log: what, then why, what it led to, what it rests on."""
    at = event.created_at.astimezone(UTC) if event.created_at else None
    when = f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "at an unknown time"
    who = f", by {escape(printable(event.actor))}" if event.actor else ""
    console.print(
        f"[dim]{when}[/] {sentence(event)} [dim]{escape(printable(event.family))}{who}[/]",
        soft_wrap=True,
    )
    if event.reason:
        console.print(Padding(escape(printable_lines(event.reason)), _INDENT, expand=False))
    if event.shares:
        shares = ", ".join(f"{key} {weight:g}" for key, weight in event.shares.items())
        split = f"[dim]split {event.revision}:[/] {escape(printable(shares))}"
        console.print(Padding(split, _INDENT, expand=False))
    if event.figures:
        figures = [
            f"[dim]{escape(printable(key))}[/] {value:.4g}" for key, value in event.figures.items()
        ]
        console.print(Padding(Columns(figures, padding=(0, 2)), _INDENT, expand=False))
