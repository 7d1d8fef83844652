"""`lorelay up`."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.display import StackDisplay
from cli.logs import last_lines
from cli.stack.folder import StackFolder
from cli.stack.plan import ENGINE, MODEL, VLLM_CONFIG, Wishes
from cli.stack.readiness import EndedEarly, NotReadyInTime
from cli.stack.stack import Cluster, LocalStack
from schemas.errors import ConfigurationError

_LOG_LINES = 15


class EngineName(StrEnum):
    """The engines a worker can have."""

    VLLM = "vllm"
    HTTP = "http"
    ECHO = "echo"


def up(
    workers: Annotated[
        int | None, typer.Option(min=0, help="Workers that should run; 1 if none ever did.")
    ] = None,
    routers: Annotated[
        int | None, typer.Option(min=0, help="Routers that should run; 1 if none ever did.")
    ] = None,
    gateways: Annotated[
        int | None,
        typer.Option(min=0, help="Gateways that should run, 0 for none; 1 if none ever did."),
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            envvar=ENGINE,
            help="vllm in the worker, http for a server (LORELAY_HTTP_URL), echo for none.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            envvar=MODEL,
            metavar="FOLDER|NAME",
            help="The base model; the demo's if there is no other.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar=VLLM_CONFIG, metavar="FILE", help="A vllm_config.yaml for the workers."
        ),
    ] = None,
    kafka_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="The broker's port; 9092 or a free one if none is given."
        ),
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=1, max=100_000, help="Of the topics that are created now.")
    ] = 4,
    timeout: Annotated[float, typer.Option(help="Seconds until it counts as failed.")] = 300.0,
) -> None:
    """Start broker, router, worker and gateway in the background and wait until they are ready.

    What runs already is left alone; what has ended is started again as it was. State and logs
    are in .lorelay below this folder. With LORELAY_KAFKA=host:port no broker is started.
    """
    folder = StackFolder(Path(".lorelay"))
    console = Console()
    worker = _worker_settings(engine, model, config)
    try:
        with StackDisplay(console) as display:
            stack = LocalStack(folder, os.environ, display)
            record = stack.up(
                Cluster(os.environ.get("LORELAY_KAFKA") or None, kafka_port, partitions),
                Wishes(routers, workers, worker, gateways),
                timeout,
            )
    except (EndedEarly, NotReadyInTime) as error:
        _show_log(Console(stderr=True), folder, error.name)
        raise
    except KeyboardInterrupt:
        console.print("Stopped waiting; what was started goes on.")
        console.print("  lorelay up waits again, lorelay down ends it", highlight=False)
        raise
    console.print(f"\nKafka is at [bold]{record.kafka}[/].", highlight=False)
    if record.gateway is not None:
        console.print(f"OpenAI's API is at [bold]{record.gateway}/v1[/],", highlight=False)
        console.print(f"the live page at [bold]{record.gateway}/dashboard[/].", highlight=False)
    console.print("Next:")
    console.print('  lorelay ask "How may sepsis show itself?"', highlight=False)
    console.print("  lorelay status | logs NAME | down", highlight=False)


def _worker_settings(
    engine: EngineName | None, model: str | None, config: Path | None
) -> dict[str, str]:
    settings = {}
    if engine is not None:
        settings[ENGINE] = engine.value
    if model is not None:
        settings[MODEL] = _model(model)
    if config is not None:
        if not config.is_file():
            raise ConfigurationError(f"There is no file {config}.")
        settings[VLLM_CONFIG] = str(config.absolute())
    return settings


def _model(given: str) -> str:
    """A folder as an absolute path; "owner/name" may be a hub's and stays as it is."""
    path = Path(given)
    if path.is_dir():
        return str(path.absolute())
    if given.startswith((".", "/", "~")) or given.count("/") != 1:
        raise ConfigurationError(f"There is no model folder {given}.")
    return given


def _show_log(console: Console, folder: StackFolder, name: str) -> None:
    log = folder.log_file(name)
    console.print(f"The last lines of {log}:", style="bold", soft_wrap=True)
    for line in last_lines(log, _LOG_LINES):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
