"""`lorelay status`."""

import json
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.display import StackDisplay
from cli.stack.folder import StackFolder
from cli.stack.stack import LocalStack, ProcessStatus


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the processes of this folder's stack; the exit status is 1 unless all are ready."""
    console = Console()
    folder = StackFolder(Path(".lorelay"))
    found = LocalStack(folder, os.environ, StackDisplay(console)).status()
    record = folder.read()
    kafka, gateway = record.kafka, record.gateway
    if as_json:
        processes = [asdict(process) for process in found]
        content = {"kafka": kafka, "gateway": gateway, "processes": processes}
        typer.echo(json.dumps(content, indent=2))
    elif kafka is None:
        console.print("Nothing runs in this folder; `lorelay up` starts a stack.")
    else:
        console.print(f"Kafka: [bold]{kafka}[/]", highlight=False)
        if gateways := [process.serves for process in found if process.serves]:
            console.print(f"Gateway: [bold]{', '.join(gateways)}[/]", highlight=False)
        console.print(_table(found))
    if not found or not all(process.ready for process in found):
        raise typer.Exit(1)


def _table(processes: list[ProcessStatus]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("process", "pid", "state", "since", "metrics"):
        table.add_column(heading, no_wrap=heading != "state", overflow="fold")
    for process in processes:
        state = "[green]ready" if process.ready else f"[red]{process.waits_for}"
        table.add_row(
            process.name,
            str(process.pid or "-"),
            state,
            f"{datetime.fromisoformat(process.started).astimezone():%d %b %H:%M:%S}",
            process.metrics or "-",
        )
    return table
