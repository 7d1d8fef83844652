"""What `up` and `down` show while they wait: a live line per process, plain lines in a log."""

import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from cli.stack.processes import Outcome
from cli.stack.readiness import NotYet, Ready


class StackDisplay(AbstractContextManager["StackDisplay"]):
    """Reports on a stack's processes (cli.stack.stack.Report)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.fields[process]:<10}"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._seen: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> "StackDisplay":
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def state(self, name: str, state: Ready | NotYet) -> None:
        """Show what ``name`` waits for."""
        self._show(
            name,
            "ready" if isinstance(state, Ready) else state.reason,
            done=isinstance(state, Ready),
        )

    def stopping(self, name: str) -> None:
        """Show that ``name`` is asked to end."""
        self._show(name, "stopping", done=False)

    def stopped(self, name: str, outcome: Outcome) -> None:
        """Show how ``name`` ended."""
        self._show(name, outcome.value, done=True)

    def note(self, text: str) -> None:
        """Show a sentence above the processes."""
        self._live.console.print(f"[yellow]Note:[/] {text}", soft_wrap=True)

    def _show(self, name: str, text: str, done: bool) -> None:
        now = time.monotonic()
        before, begun = self._seen.get(name, ("", now))
        self._seen[name] = (text, begun)
        if not self._console.is_terminal:
            if text != before:
                self._console.print(f"{name}: {text} ({now - begun:.0f} s)", soft_wrap=True)
            return
        if name not in self._tasks:
            self._tasks[name] = self._live.add_task("", total=1, process=name)
        self._live.update(self._tasks[name], description=text, completed=1 if done else 0)
