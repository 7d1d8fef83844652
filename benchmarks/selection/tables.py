"""Figures by row and column, for people and as JSON."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table as RichTable

from benchmarks.figures import show


@dataclass(frozen=True, slots=True)
class Column:
    """A figure's name and unit."""

    name: str
    unit: str = "%"


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure's mean over the draws, and half of the distance between the farthest two."""

    mean: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Cell":
        """That of one value a draw."""
        return cls(statistics.fmean(values), (max(values) - min(values)) / 2)


@dataclass(slots=True)
class Table:
    """``labels`` name the leading columns, which say what a row is about; ``notes`` what was done.

    A row that lacks a column's figure leaves it empty.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    rows: list[tuple[tuple[str, ...], dict[str, Cell]]] = field(default_factory=list)

    def add(self, labels: Sequence[str], draws: Iterable[Mapping[str, float]]) -> None:
        """A row from each draw's figures by column; one that any draw lacks is left out."""
        measured = list(draws)
        cells = {
            column.name: Cell.of([draw[column.name] for draw in measured])
            for column in self.columns
            if all(not math.isnan(draw.get(column.name, math.nan)) for draw in measured)
        }
        self.rows.append((tuple(labels), cells))

    def rich(self) -> RichTable:
        """As it is printed."""
        printed = RichTable(
            title=self.title,
            caption="\n".join(self.notes),
            title_justify="left",
            caption_justify="left",
            header_style="bold",
        )
        for label in self.labels:
            printed.add_column(label, no_wrap=True)
        for column in self.columns:
            printed.add_column(_heading(column), justify="right", overflow="fold")
        before: tuple[str, ...] = ()
        for labels, cells in self.rows:
            is_same = labels[:1] == before[:1]
            if before and len(labels) > 1 and not is_same:
                printed.add_section()
            shown = ("", *labels[1:]) if is_same else labels
            figures = [_shown(cells.get(column.name), column) for column in self.columns]
            printed.add_row(*shown, *figures)
            before = labels
        return printed

    def as_json(self) -> dict[str, Any]:
        """Everything, means not rounded."""
        return {
            "name": self.name,
            "title": self.title,
            "notes": list(self.notes),
            "units": {column.name: column.unit for column in self.columns},
            "rows": [
                dict(zip(self.labels, labels, strict=True))
                | {name: {"mean": c.mean, "spread": c.spread} for name, c in cells.items()}
                for labels, cells in self.rows
            ],
        }


def _heading(column: Column) -> str:
    """In several lines: what is measured below the router's name, its joined encoders apart."""
    name = column.name.replace(": ", "\n").replace("+", "+\n")
    return f"{name}, {column.unit}" if column.unit else name


def _shown(cell: Cell | None, column: Column) -> str:
    if cell is None:
        return "–"
    mean, spread = (
        f"{value:.1f}" if column.unit == "%" else show(value) for value in (cell.mean, cell.spread)
    )
    return f"{mean} ± {spread}" if cell.spread else mean
