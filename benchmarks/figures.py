"""Figures of several rounds: median, spread, the aim beside them, as a table and as JSON."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure should reach: at least ``value``, or at most."""

    value: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"

    def is_met(self, median: float) -> bool:
        """Whether the median, rounded as it is shown, reaches it."""
        shown = float(show(median))
        return shown <= self.value if self.at_most else shown >= self.value


@dataclass(slots=True)
class Figure:
    """One figure with its value in each round; ``samples`` is how much one value rests on."""

    benchmark: str
    name: str
    unit: str
    aim: Aim | None = None
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest round."""
        return min(self.values), max(self.values)


class Figures:
    """The figures of a run, in the order in which they were first measured."""

    def __init__(self) -> None:
        self._figures: dict[tuple[str, str], Figure] = {}

    def add(
        self, benchmark: str, name: str, value: float, unit: str, aim: Aim | None = None
    ) -> None:
        """One round's value of a figure."""
        key = (benchmark, name)
        figure = self._figures.setdefault(key, Figure(benchmark, name, unit, aim))
        figure.values.append(value)

    def all(self) -> list[Figure]:
        """Every figure so far."""
        return list(self._figures.values())

    def table(self) -> Table:
        """A row for each figure; a section for each benchmark."""
        table = Table(header_style="bold")
        table.add_column("benchmark")
        table.add_column("figure")
        for column in ("aim", "median", "spread"):
            table.add_column(column, justify="right")
        table.add_column("unit")
        before = ""
        for figure in self._figures.values():
            if before and figure.benchmark != before:
                table.add_section()
            table.add_row(
                figure.benchmark if figure.benchmark != before else "",
                figure.name,
                str(figure.aim or ""),
                f"[{_style(figure)}]{show(figure.median)}[/]",
                " - ".join(map(show, figure.spread)) if len(figure.values) > 1 else "",
                figure.unit,
            )
            before = figure.benchmark
        return table

    def write(self, path: Path, rounds: int, settings: Mapping[str, str], load: float) -> None:
        """The figures as JSON, with what they were measured on; ``load`` was there before."""
        content = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine() | {"load_before": load},
            "rounds": rounds,
            "settings": dict(settings),
            "figures": [_as_json(figure) for figure in self._figures.values()],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of the others don't exceed, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(value: float) -> str:
    """Three significant digits, and no exponent."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def machine() -> dict[str, Any]:
    """What the figures depend on most."""
    return {
        "processors": len(os.sched_getaffinity(0)),
        "model": _processor_model(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _style(figure: Figure) -> str:
    if figure.aim is None:
        return "default"
    return "green" if figure.aim.is_met(figure.median) else "yellow"


def _as_json(figure: Figure) -> dict[str, Any]:
    low, high = figure.spread
    aim = figure.aim and {"at_most" if figure.aim.at_most else "at_least": figure.aim.value}
    return {
        "benchmark": figure.benchmark,
        "name": figure.name,
        "unit": figure.unit,
        "aim": aim,
        "median": figure.median,
        "min": low,
        "max": high,
        "values": figure.values,
    }
