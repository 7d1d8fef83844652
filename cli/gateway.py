"""`lorelay gateway`."""

import typer

from cli.settings_file import SettingsOption, read_settings_file


def gateway(settings: SettingsOption = None) -> None:
    """Serve the HTTP API until told to stop: OpenAI's, over Kafka.

    Takes its settings from LORELAY_* variables; any number may run, on any machine.
    """
    read_settings_file(settings)
    from streams.gateway.main import run

    raise typer.Exit(run())
