"""`lorelay down`."""

import os
from pathlib import Path

from rich.console import Console

from cli.display import StackDisplay
from cli.stack.folder import StackFolder
from cli.stack.stack import LocalStack


def down() -> None:
    """Stop the gateways, the workers, the routers and the broker of this folder's stack.

    Each may finish what it is doing. What Kafka holds stays, and is there after the next `up`.
    """
    console = Console()
    with StackDisplay(console) as display:
        found = LocalStack(StackFolder(Path(".lorelay")), os.environ, display).down()
    if not found:
        console.print("Nothing was started in this folder.")
