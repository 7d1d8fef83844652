"""How an audit of the adapters' examples looks: tables, and JSON."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli.heat_map import HeatMap
from cli.printable import printable
from streams.selection.findings import Audit, LooseThreshold, Overlap, Strayed, TooFew

F = TypeVar("F", Overlap, Strayed, TooFew, LooseThreshold)


def parts(audit: Audit, encoder: str, most: int) -> Iterator[RenderableType]:
    """What to print: each kind of finding, at most ``most`` of it, the worst first."""
    looked_at = f"{audit.examples:,} examples"
    if audit.compared < audit.examples:
        looked_at = f"{audit.compared:,} of {looked_at}"
    adapters = f"{len(audit.adapters):,} adapter{'' if len(audit.adapters) == 1 else 's'}"
    yield Text(f"{looked_at} of {adapters}, compared by {encoder}", style="dim")
    yield from _found("Adapters that overlap", audit.overlaps, _overlaps, most)
    yield from _found(
        "Examples nearer to another adapter than to their own", audit.strayed, _strayed, most
    )
    yield from _found("Too few examples to trust", audit.too_few, _too_few, most)
    yield from _found("Thresholds that reject next to nothing", audit.loose, _loose, most)


def as_json(audit: Audit, encoder: str) -> dict[str, Any]:
    """All findings with their advice, and the overlap of every adapter with every other.

    ``overlap`` has a row and a column for each of ``adapters``: the share of the row's examples
    that lie nearer to the column.
    """
    return {
        "encoder": encoder,
        "adapters": audit.adapters,
        "examples": audit.examples,
        "compared": audit.compared,
        "overlaps": _findings_json(audit.overlaps),
        "strayed": _findings_json(audit.strayed),
        "too_few": _findings_json(audit.too_few),
        "loose": _findings_json(audit.loose),
        "overlap": audit.overlap.round(4).tolist(),
    }


def heat_map(audit: Audit) -> HeatMap:
    """The overlap of all adapters."""
    return HeatMap(
        audit.adapters,
        audit.overlap,
        "Examples that lie nearer to another adapter than to their own",
        rows="examples of",
        columns="lie nearer to",
        unit="share of the adapter's examples (%)",
    )


def _found(
    title: str, findings: Sequence[F], table: Callable[[Sequence[F]], Table], most: int
) -> Iterator[RenderableType]:
    if not findings:
        yield Text.from_markup(f"\n[green]✓[/] {title}: none")
        return
    yield Text.from_markup(f"\n[bold]{title}[/] ({len(findings):,})")
    yield table(findings[:most])
    if len(findings) > most:
        yield Text(f"and {len(findings) - most:,} more (--most, --json)", style="dim")


def _overlaps(found: Sequence[Overlap]) -> Table:
    table = _table("adapter", "other", "nearer to it", "and back", "in both", "what to do")
    for pair in found:
        advice = [pair.advice]
        if pair.twins:
            twin = pair.twins[0]
            advice.append(f"In both, for example: {twin.one} / {twin.other}")
        table.add_row(
            escape(pair.adapter),
            escape(pair.other),
            f"{pair.strayed:.0%}",
            f"{pair.strayed_back:.0%}",
            f"{pair.doubled:.0%}",
            _shown("\n".join(advice)),
        )
    return table


def _strayed(found: Sequence[Strayed]) -> Table:
    table = _table("example", "of", "score", "nearer to", "score", "what to do")
    for each in found:
        table.add_row(
            _shown(each.text),
            escape(each.adapter),
            f"{each.own_score:.2f}",
            escape(each.other),
            f"{each.other_score:.2f}",
            _shown(f"{each.advice} Nearest there: {each.nearest_there}"),
        )
    return table


def _too_few(found: Sequence[TooFew]) -> Table:
    table = _table("adapter", "language", "examples", "missing", "what to do")
    for each in found:
        language = each.language or "any"
        counts = f"{each.count:,}", f"{each.needed:,}"
        table.add_row(escape(each.adapter), escape(language), *counts, escape(each.advice))
    return table


def _loose(found: Sequence[LooseThreshold]) -> Table:
    table = _table("adapter", "threshold", "lets pass", "what to do")
    for each in found:
        table.add_row(
            escape(each.adapter),
            f"{each.threshold:.2f}",
            f"{each.passed:.0%} of everyday queries",
            escape(each.advice),
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _shown(text: str) -> str:
    return "\n".join(escape(printable(line)) for line in text.split("\n"))


def _findings_json(
    findings: Sequence[Overlap | Strayed | TooFew | LooseThreshold],
) -> list[dict[str, Any]]:
    return [asdict(found) | {"advice": found.advice} for found in findings]
