"""How a decision and its explanation look: tables, and JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.printable import printable
from streams.selection.explanation import Explanation, Standing

_BAR_CELLS: Final = 20
_SHOWN_ADAPTERS: Final = 2
_SHOWN_EXAMPLES: Final = 3
_SHOWN_CHARACTERS: Final = 240
_INDENT: Final = (0, 0, 0, 2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``elapsed_ms`` is what encoding and selecting took; ``adapters`` were compared."""

    explanation: Explanation
    encoder: str
    adapters: int
    elapsed_ms: float


def candidates(explanation: Explanation) -> Table:
    """A line for each near adapter."""
    table = Table(box=None, pad_edge=False)
    table.add_column("adapter", overflow="fold")
    for heading in ("score", ""):
        table.add_column(heading, no_wrap=True)
    for heading in ("threshold", "margin"):
        table.add_column(heading, justify="right", no_wrap=True)
    for standing in explanation.adapters:
        table.add_row(
            standing.adapter,
            f"{standing.score:.3f}",
            _bar(standing),
            "too few" if standing.threshold is None else f"{standing.threshold:.3f}",
            "" if standing.margin is None else f"{standing.margin:+.3f}",
            style=_style(standing, explanation.decision.adapter),
        )
    return table


def verdict(outcome: Outcome) -> str:
    """Who answers, why, and in figures; as markup."""
    decision = outcome.explanation.decision
    figures = {
        "score": decision.score,
        "threshold": decision.threshold,
        "margin": decision.margin,
        "probability": decision.probability,
    }
    known = [f"{name} {value:.2f}" for name, value in figures.items() if value is not None]
    encoder = escape(outcome.encoder)
    return "\n".join(
        [
            "",
            f"[bold]{escape(decision.adapter or 'The base model')}[/]",
            escape(decision.reason),
            " · ".join([*known, f"language {decision.language or 'not told'}"]),
            f"[dim]{encoder}, {outcome.adapters} adapters, {outcome.elapsed_ms:.1f} ms[/]",
        ]
    )


def neighbours(explanation: Explanation) -> RenderableType:
    """The nearest examples of the best adapters, below the adapter's name."""
    parts: list[RenderableType] = ["\nnearest examples"]
    for number, standing in enumerate(explanation.adapters[:_SHOWN_ADAPTERS]):
        style = _style(standing, explanation.decision.adapter)
        table = Table(box=None, pad_edge=False, show_header=number == 0)
        table.add_column("cosine", justify="right", no_wrap=True, min_width=len("cosine"))
        table.add_column("language", no_wrap=True, min_width=len("language"))
        table.add_column("text", overflow="fold")
        for example in standing.examples[:_SHOWN_EXAMPLES]:
            table.add_row(
                f"{example.similarity:.3f}",
                example.language or "-",
                escape(_beginning(printable(example.text))),
                style=style,
            )
        parts += [Text(standing.adapter, style), Padding(table, _INDENT, expand=False)]
    return Group(*parts)


def explanation_json(outcome: Outcome) -> dict[str, Any]:
    """What explains a routing, beside its own fields."""
    return {
        "adapters": [
            asdict(standing) | {"is_near": standing.is_near}
            for standing in outcome.explanation.adapters
        ],
        "encoder": outcome.encoder,
        "adapters_compared": outcome.adapters,
        "elapsed_ms": outcome.elapsed_ms,
    }


def _beginning(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _bar(standing: Standing) -> str:
    """The score as a bar, with a mark where its threshold is."""
    cells = ["━"] * _cell(standing.score) + [" "] * (_BAR_CELLS - _cell(standing.score))
    if standing.threshold is not None:
        cells[min(_cell(standing.threshold), _BAR_CELLS - 1)] = "┃"
    return "".join(cells)


def _cell(cosine: float) -> int:
    return math.floor(max(0.0, min(1.0, cosine)) * _BAR_CELLS)


def _style(standing: Standing, chosen: str | None) -> str:
    if standing.adapter == chosen:
        return "bold green"
    return "" if standing.is_near else "dim"
