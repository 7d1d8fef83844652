"""How dead letters look: a list, one in full, and JSON. The original text is asked for apart."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from cli.printable import printable
from streams.kafka.dead_letters.letter import DeadLetter
from streams.kafka.dead_letters.redrive import Plan


def lines(letters: Sequence[DeadLetter]) -> Iterator[str]:
    """Two for each, as markup: what is to be copied stays whole however narrow the terminal is."""
    longest = max((len(printable(letter.origin)) for letter in letters), default=0)
    for letter in letters:
        error = letter.code or letter.error_class or letter.problem or "unknown"
        origin = printable(letter.origin).ljust(longest)
        since = _local(letter.since)[: len("2026-11-24 12:00")]
        yield f"[dim]{since}[/]  {escape(origin)}  [red]{escape(printable(error))}[/]"
        again = letter.redriven_count
        about = {
            "query": letter.query_id,
            "adapter": letter.adapter,
            "redriven": f"{again} time{'' if again == 1 else 's'}" if again else None,
        }
        said = [f"[dim]{name}[/] {escape(printable(told))}" for name, told in about.items() if told]
        if said:
            yield f"    {', '.join(said)}"


def details(letter: DeadLetter) -> Table:
    """All but the original bytes."""
    found = Table(show_header=False, box=None, pad_edge=False)
    found.add_column(style="dim", no_wrap=True)
    found.add_column(overflow="fold")
    at, again = _local(letter.redriven_at), letter.redriven_count
    rows: dict[str, str | None] = {
        "origin": letter.origin,
        "dead since": _local(letter.since),
        "stage": letter.stage,
        "error": f"{letter.code} ({letter.category})" if letter.code else letter.category,
        "class": letter.error_class,
        "message": letter.message,
        "query": letter.query_id,
        "adapter": letter.adapter,
        "redriven": f"{again} time{'' if again == 1 else 's'}, last {at}" if again else "",
        "redriven from": letter.redriven_from,
        "not redrivable": letter.problem,
        "size": f"{len(letter.value):,} bytes",
        "key": None if letter.original_key is None else _text(letter.original_key),
    }
    for name, value in rows.items():
        if value:
            found.add_row(name, escape(printable(value)))
    for header, content in letter.headers:
        found.add_row(f"header {escape(printable(header))}", escape(printable(_text(content))))
    return found


def as_json(letter: DeadLetter) -> dict[str, Any]:
    """All but the original bytes; times are ISO 8601 in UTC."""
    return {
        "origin": letter.origin,
        "since": _utc(letter.since),
        "stage": letter.stage,
        "error": {
            "class": letter.error_class,
            "category": letter.category,
            "code": letter.code,
            "message": letter.message,
        },
        "query_id": letter.query_id,
        "adapter": letter.adapter,
        "redriven_at": _utc(letter.redriven_at),
        "redriven_count": letter.redriven_count,
        "redriven_from": letter.redriven_from,
        "problem": letter.problem,
        "size_bytes": len(letter.value),
        "key": None if letter.original_key is None else _text(letter.original_key),
        "headers": [[name, None if v is None else _text(v)] for name, v in letter.headers],
    }


def plan_lines(plan: Plan) -> list[str]:
    """What a redrive leaves out, and why, as markup."""
    lines = [
        f"[red]refused[/] {escape(printable(letter.origin))}: {escape(reason)}"
        for letter, reason in plan.refused
    ]
    if plan.skipped:
        lines.append(f"[dim]skipped[/] {counted(len(plan.skipped))} redriven already (--again)")
    return lines


def counted(number: int) -> str:
    """The number with its noun."""
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


def _text(content: bytes | None) -> str:
    return (content or b"").decode(errors="backslashreplace")


def _local(time: datetime | None) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else "-"


def _utc(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
