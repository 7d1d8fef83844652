"""How an audit of the adapters' examples looks: a list, a heat map, and JSON."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from cli.heat_map import HeatMap
from cli.printable import printable
from streams.selection.findings import Audit, LooseThreshold, Overlap, Strayed, TooFew

Finding = Overlap | Strayed | TooFew | LooseThreshold
F = TypeVar("F", bound=Finding)


def parts(audit: Audit, encoder: str, most: int) -> Iterator[RenderableType]:
    """What to print: each kind of finding, at most ``most`` of it, the worst first."""
    looked_at = f"{audit.examples:,} examples"
    if audit.compared < audit.examples:
        looked_at = f"{audit.compared:,} of {looked_at}"
    adapters = f"{len(audit.adapters):,} adapter{'' if len(audit.adapters) == 1 else 's'}"
    yield Text(f"{looked_at} of {adapters}, compared by {encoder}", style="dim")
    yield from _found("Adapters that overlap", audit.overlaps, _overlap, most)
    yield from _found(
        "Examples nearer to another adapter than to their own", audit.strayed, _stray, most
    )
    yield from _found("Too few examples to trust", audit.too_few, _few, most)
    yield from _found("Thresholds that reject next to nothing", audit.loose, _loose, most)


def as_json(audit: Audit, encoder: str) -> dict[str, Any]:
    """All findings with their advice, and the overlap of every adapter with every other.

    ``overlap_matrix`` has a row and a column for each of ``adapters``: the share of the row's
    examples that lie nearer to the column.
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
        "overlap_matrix": audit.overlap.round(4).tolist(),
    }


def heat_map(audit: Audit) -> HeatMap:
    """The overlap of all adapters."""
    return HeatMap(
        audit.adapters,
        audit.overlap,
        "Examples that lie nearer to another adapter than to their own",
        rows="examples of",
        columns="lie nearer to",
        unit="% of the adapter's examples",
    )


def _found(
    title: str, findings: Sequence[F], lines: Callable[[F], Sequence[str]], most: int
) -> Iterator[RenderableType]:
    """Each finding's ``lines`` of markup, and what to do about it."""
    if not findings:
        yield Text.from_markup(f"\n[green]✓[/] {title}: none")
        return
    yield Text.from_markup(f"\n[bold]{title}[/] ({len(findings):,})")
    for each in findings[:most]:
        told = "\n  ".join([*lines(each), f"[dim]{escape(each.advice)}[/]"])
        yield Text.from_markup(told)
    if len(findings) > most:
        yield Text(f"and {len(findings) - most:,} more (--most, --json)", style="dim")


def _overlap(pair: Overlap) -> list[str]:
    lines = [
        f"[cyan]{escape(pair.adapter)}[/] and [cyan]{escape(pair.other)}[/]",
        f"{pair.strayed:.0%} of the former's examples lie nearer to the latter, "
        f"{pair.strayed_back:.0%} the other way round",
    ]
    if pair.twins:
        twin = pair.twins[0]
        lines.append(
            f"{pair.doubled:.0%} are nearly in both: {_shown(twin.one)} / {_shown(twin.other)}"
        )
    return lines


def _stray(each: Strayed) -> list[str]:
    return [
        f"[cyan]{_shown(each.text)}[/]",
        f"of {escape(each.adapter)} ({each.own_score:.2f}), nearer to {escape(each.other)} "
        f"({each.other_score:.2f}), nearest there: {_shown(each.nearest_there)}",
    ]


def _few(each: TooFew) -> list[str]:
    language = "" if each.language is None else f" in {escape(each.language)}"
    count = f"{each.count} example{'' if each.count == 1 else 's'}"
    return [f"[cyan]{escape(each.adapter)}[/]: {count}{language}, {each.needed} missing"]


def _loose(each: LooseThreshold) -> list[str]:
    return [
        f"[cyan]{escape(each.adapter)}[/] lets {each.passed:.0%} of everyday queries pass "
        f"(threshold {each.threshold:.2f})"
    ]


def _shown(text: str) -> str:
    return escape(printable(text))


def _findings_json(
    findings: Sequence[Finding],
) -> list[dict[str, Any]]:
    return [asdict(found) | {"advice": found.advice} for found in findings]
