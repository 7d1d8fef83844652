"""Why nobody answers: a sentence for the person who waits."""

from pathlib import Path

from rich.console import Console

from cli.display import StackDisplay
from cli.stack.folder import StackFolder
from cli.stack.plan import ROUTER, WORKER, kind_of
from cli.stack.stack import LocalStack

_STACK = Path(".lorelay")


def who_is_missing(kafka: str, stack: Path = _STACK) -> str:
    """What keeps queries at the cluster ``kafka`` from being answered, and what to do.

    Only the processes of the stack folder can be seen from here.
    """
    folder = StackFolder(stack)
    if folder.read().kafka != kafka:
        return (
            f"Does a router and a worker run on {kafka}? None of them was started in this folder "
            "(`lorelay router`, `lorelay worker`)."
        )
    found = LocalStack(folder, {}, StackDisplay(Console(quiet=True))).status()
    waiting = [f"{p.name}: {p.waits_for}" for p in found if not p.ready]
    for kind in (ROUTER, WORKER):
        if not any(kind_of(p.name) == kind for p in found):
            waiting.append(f"{kind}: never started")
    if waiting:
        return f"{'; '.join(waiting)}. `lorelay up` starts what is missing."
    return "Router and worker are ready: `lorelay logs worker` shows what it is doing."
