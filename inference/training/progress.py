"""Training progress for a person: a bar with the loss, or plain lines without a terminal."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def training_bars(console: Console) -> Progress:
    """A live display of one bar per training run; it shows nothing unless on a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps  loss {task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def bar(bars: Progress, name: str) -> Callable[[int, int, float], None]:
    """A new bar's report function: (steps done, steps planned, loss).

    Without a terminal each tenth of the run prints a line instead.
    """
    task = bars.add_task(name, total=None, loss="-")

    def report(done: int, planned: int, loss: float) -> None:
        bars.update(task, completed=done, total=planned, loss=f"{loss:.3f}")
        tenth = max(1, planned // 10)
        if not bars.console.is_terminal and (done % tenth == 0 or done == planned):
            bars.console.print(f"{name}: {done}/{planned} steps, loss {loss:.3f}")

    return report
