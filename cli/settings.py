"""`lorelay settings`."""

import os
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.printable import printable
from schemas.schema_registry import without_credentials


class Process(StrEnum):
    """The processes that take settings."""

    ROUTER = "router"
    WORKER = "worker"
    GATEWAY = "gateway"


def settings(
    process: Annotated[Process, typer.Argument(help="Whose settings to list.")],
) -> None:
    """List the variables that a process reads, their defaults and what is set now.

    Example: lorelay settings worker
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("variable", "default", "set to", "meaning"):
        table.add_column(heading, overflow="fold")
    for group in _settings_classes(process):
        for name, field in sorted(group.model_fields.items()):
            variable = f"LORELAY_{name.upper()}"
            is_secret = "Secret" in str(field.annotation)
            value = os.environ.get(variable, "")
            default = "" if field.default in (None, (), PydanticUndefined) else str(field.default)
            shown = "***" if is_secret and value else without_credentials(value)
            cells = (variable, default, shown, field.description or "")
            table.add_row(*(escape(printable(cell)) for cell in cells))
    Console().print(table)


def _settings_classes(process: Process) -> list[type[BaseModel]]:
    if process is Process.ROUTER:
        from streams.router.settings import RouterSettings

        return [RouterSettings]
    if process is Process.GATEWAY:
        from streams.gateway.settings import GatewaySettings

        return [GatewaySettings]
    from inference.engine.config import EngineSettings
    from inference.worker.settings import WorkerSettings

    return [WorkerSettings, EngineSettings]
