"""`lorelay worker`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.environments import enter_worker_environment
from cli.settings_file import SettingsOption, read_settings_file
from cli.stack.plan import ENGINE, MODEL, VLLM_CONFIG
from streams.garbage import importing


def worker(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A vllm_config.yaml, as vLLM's own server takes it."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="vllm (the default), http or echo.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER|NAME", help="The base model.")
    ] = None,
    settings: SettingsOption = None,
) -> None:
    """Answer requests with the engine until told to stop.

    Takes its settings from LORELAY_* variables, which these options override; any number may
    run, on any machine.
    """
    read_settings_file(settings)
    given = {VLLM_CONFIG: config, ENGINE: engine, MODEL: model}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    if os.environ.get(ENGINE, "vllm") == "vllm":
        enter_worker_environment("vllm", sys.argv[1:])
    with importing():
        from inference.worker.main import run

    raise typer.Exit(run())
