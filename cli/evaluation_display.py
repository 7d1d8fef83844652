"""How an evaluation looks: tables, a heat map, and JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cli.heat_map import HeatMap
from cli.printable import printable
from streams.selection.evaluation import Evaluation, Mistake, Share
from streams.selection.labelled import NONE

#: What names need in a confusion table. Where its columns leave less, or there are more of them
#: than anybody compares, the cells that hold mistakes are listed instead.
_NAME_CELLS: Final = 20
_UNBOUNDED: Final = 10_000
_WIDEST: Final = 12
_SHOWN_CONFUSIONS: Final = 20

_FIGURES: Final = {
    "accuracy": "went where they belong",
    "routed": "answered by their adapter",
    "misrouted": "given to another adapter",
    "rejected": "rejected (false rejects)",
    "nearest": "nearest to their adapter, whatever the thresholds say",
    "caught": "left to the base model",
}


def parts(evaluation: Evaluation, encoder: str, mistakes: int) -> Iterator[RenderableType]:
    """What to print, from the whole to the single mistakes."""
    yield _figures(evaluation, encoder)
    if evaluation.known:
        first = evaluation.known[0]
        yield Text.from_markup(
            f"\n[yellow]Note:[/] {len(evaluation.known):,} of the queries, the first in "
            f"{escape(first.place)}, can be found word for word among the adapters' examples: "
            "leave them out, they test nothing."
        )
    adapters = [name for name in evaluation.by_adapter if name is not None]
    yield _confusions(evaluation) if len(adapters) > _WIDEST else _Confusion(evaluation)
    yield _shares("language", evaluation.by_language, "not told")
    if evaluation.mistakes[:mistakes]:
        yield Text.from_markup("\n[bold]The mistakes it was surest of[/]")
    for mistake in evaluation.mistakes[:mistakes]:
        yield _mistake(mistake)


def as_json(evaluation: Evaluation, encoder: str, mistakes: int) -> dict[str, Any]:
    """All figures; ``none`` stands for no adapter, shares are ``{count, total, rate}``."""
    figures = {name: _share_json(getattr(evaluation, name)) for name in _FIGURES}
    confusion: dict[str, dict[str, int]] = {}
    for (expected, chosen), count in sorted(evaluation.confusion.items(), key=_by_names):
        confusion.setdefault(expected or NONE, {})[chosen or NONE] = count
    return {
        "encoder": encoder,
        "queries": evaluation.accuracy.total,
        **figures,
        "confusion": confusion,
        "by_adapter": {
            name or NONE: _share_json(share) for name, share in evaluation.by_adapter.items()
        },
        "by_language": {
            name or "unknown": _share_json(share) for name, share in evaluation.by_language.items()
        },
        "known": [query.place for query in evaluation.known],
        "mistakes": [_mistake_json(mistake) for mistake in evaluation.mistakes[:mistakes]],
    }


def heat_map(evaluation: Evaluation) -> HeatMap:
    """What share of each adapter's queries goes where."""
    counts = evaluation.confusion
    names = sorted({name for pair in counts for name in pair}, key=_none_last)
    shares = np.zeros((len(names), len(names)))
    for (expected, chosen), count in counts.items():
        place = names.index(expected), names.index(chosen)
        shares[place] = count / evaluation.by_adapter[expected].total
    return HeatMap(
        [name or NONE for name in names],
        shares,
        "Where queries go",
        rows="queries of",
        columns="given to",
        unit="% of the adapter's queries",
    )


def _figures(evaluation: Evaluation, encoder: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(f"with {escape(encoder)}", style="dim", overflow="fold")
    for heading in ("queries", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    groups = {"accuracy": "all queries", "routed": "queries of an adapter", "caught": "of none"}
    for name, meaning in _FIGURES.items():
        share: Share = getattr(evaluation, name)
        if not share.total:
            continue
        if name in groups:
            table.add_row(groups[name], f"{share.total:,}", "", style="bold")
        table.add_row(f"  {meaning}", f"{share.count:,}", _percent(share))
    return table


@dataclass(frozen=True, slots=True)
class _Confusion:
    """The whole table where it fits, else what is confused most."""

    evaluation: Evaluation

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        longest = max(len(name or NONE) for pair in self.evaluation.confusion for name in pair)
        whole = _confusion(self.evaluation, name_cells=longest)
        needed = Measurement.get(console, options.update(max_width=_UNBOUNDED), whole).minimum
        fitting = longest - max(0, needed - options.max_width)
        if fitting >= min(longest, _NAME_CELLS):
            yield _confusion(self.evaluation, name_cells=fitting)
        else:
            yield _confusions(self.evaluation)


def _confusion(evaluation: Evaluation, name_cells: int) -> Table:
    """Rows are what was expected, columns what was chosen."""
    counts = evaluation.confusion
    rows = sorted({expected for expected, _ in counts}, key=_none_last)
    columns = sorted({name for pair in counts for name in pair}, key=_none_last)
    numbers = {name: NONE if name is None else str(i) for i, name in enumerate(columns, 1)}
    table = _lines("expected (rows) and chosen (columns)", gap=0)
    table.add_column("", justify="right")
    table.add_column("", overflow="fold", width=name_cells)
    for name in columns:
        table.add_column(numbers[name], justify="right", no_wrap=True)
    for expected in rows:
        cells = []
        for chosen in columns:
            count = counts.get((expected, chosen), 0)
            style = "green" if expected == chosen else "red"
            cells.append(f"[{style}]{count:,}[/]" if count else "[dim]·[/]")
        table.add_row(*_label(expected, numbers), *cells)
    for chosen in columns:
        if chosen not in rows:  # its number needs a name all the same
            table.add_row(*_label(chosen, numbers), *["[dim]·[/]"] * len(columns))
    return table


def _label(name: str | None, numbers: Mapping[str | None, str]) -> tuple[str, str]:
    return ("", NONE) if name is None else (numbers[name], escape(name))


def _confusions(evaluation: Evaluation) -> Table:
    """The most frequent confusions."""
    wrong = {pair: n for pair, n in evaluation.confusion.items() if pair[0] != pair[1]}
    table = _lines("most confused")
    for heading in ("expected", "chosen"):
        table.add_column(heading, overflow="fold")
    for heading in ("queries", "of"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (expected, chosen), count in sorted(wrong.items(), key=lambda item: -item[1])[
        :_SHOWN_CONFUSIONS
    ]:
        total = evaluation.by_adapter[expected].total
        cells = (escape(expected or NONE), escape(chosen or NONE), f"{count:,}", f"{total:,}")
        table.add_row(*cells)
    return table


def _lines(title: str, gap: int = 1) -> Table:
    """A table without frames; ``gap`` is what columns are apart, beyond one cell."""
    return Table(
        title=f"\n{title}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, gap, 0, 0),
        show_edge=False,
        pad_edge=False,
    )


def _shares(heading: str, shares: Mapping[str | None, Share], unknown: str) -> Table:
    table = Table(title=f"\naccuracy by {heading}", title_justify="left", box=None, pad_edge=False)
    table.add_column(heading, overflow="fold")
    for name in ("queries", "right", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for tag, share in shares.items():
        table.add_row(
            escape(tag or unknown), f"{share.total:,}", f"{share.count:,}", _percent(share)
        )
    return table


def _mistake(mistake: Mistake) -> Text:
    query, decision = mistake.query, mistake.decision
    figures = {
        "score": decision.score,
        "threshold": decision.threshold,
        "confidence": mistake.confidence,
    }
    known = [f"{name} {value:.2f}" for name, value in figures.items() if value is not None]
    lines = [
        f"\n{escape(printable(query.text))}  [dim]({escape(query.place)})[/]",
        f"  expected [green]{escape(query.adapter or NONE)}[/], "
        f"chosen [red]{escape(decision.adapter or NONE)}[/]: "
        + " · ".join([*known, f"language {decision.language or 'not told'}"]),
        f"  [dim]{escape(decision.reason)}[/]",
    ]
    return Text.from_markup("\n".join(lines))


def _mistake_json(mistake: Mistake) -> dict[str, Any]:
    query, decision = mistake.query, mistake.decision
    return {
        "text": query.text,
        "place": query.place,
        "expected": query.adapter,
        "chosen": decision.adapter,
        "nearest": decision.candidates[0].adapter if decision.candidates else None,
        "score": decision.score,
        "threshold": decision.threshold,
        "margin": decision.margin,
        "confidence": mistake.confidence,
        "language": decision.language,
        "reason": decision.reason,
    }


def _share_json(share: Share) -> dict[str, Any]:
    return {"count": share.count, "total": share.total, "rate": share.rate}


def _percent(share: Share) -> str:
    return "-" if share.rate is None else f"{100 * share.rate:.1f} %"


def _none_last(name: str | None) -> tuple[bool, str]:
    return name is None, name or ""


def _by_names(item: tuple[tuple[str | None, str | None], int]) -> tuple[tuple[bool, str], ...]:
    return tuple(map(_none_last, item[0]))
