"""`lorelay router`."""

import typer

from cli.settings_file import SettingsOption, read_settings_file
from streams.garbage import importing


def router(settings: SettingsOption = None) -> None:
    """Route queries to adapters until told to stop.

    Takes its settings from LORELAY_* variables; any number may run, on any machine.
    """
    read_settings_file(settings)
    with importing():
        from streams.router.main import run

    raise typer.Exit(run())
