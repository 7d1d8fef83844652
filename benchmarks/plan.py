"""What a run of the benchmarks is to do, and where it says and keeps what it does."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.markup import escape

from benchmarks.figures import Aim, Figures


@dataclass(frozen=True, slots=True)
class Plan:
    """``settings`` are LORELAY_* variables of every measured process; ``is_quick`` asks for runs
    that only show that all works.
    """

    rounds: int
    is_quick: bool
    settings: Mapping[str, str]
    models: Path
    console: Console
    figures: Figures
    began: float = field(default_factory=monotonic)

    def size(self, full: int, quick: int) -> int:
        """A number of records, or of whatever, by the kind of run."""
        return quick if self.is_quick else full

    def each_round(self, benchmark: str) -> Iterator[int]:
        """Numbers from 1; says which one begins."""
        for number in range(1, self.rounds + 1):
            self.say(f"{benchmark}, round {number} of {self.rounds}")
            yield number

    def say(self, text: str) -> None:
        """A line of progress."""
        seconds = monotonic() - self.began
        self.console.print(f"[dim]{seconds:6.0f} s[/]  {escape(text)}", highlight=False)

    def add(
        self, benchmark: str, name: str, value: float, unit: str, aim: Aim | None = None
    ) -> None:
        """Takes one round's value of a figure in."""
        self.figures.add(benchmark, name, value, unit, aim)

    def setting(self, name: str, default: object) -> str:
        """What a LORELAY_* setting will be, given the default."""
        return self.settings.get(f"LORELAY_{name.upper()}", str(default))


def load() -> float:
    """Processes that wanted a processor in the last minute, on average."""
    return os.getloadavg()[0]
