"""`lorelay gateway`."""

import typer

from cli import gateway_keys
from cli.settings_file import SettingsOption, read_settings_file
from streams.garbage import importing

app = typer.Typer(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
app.add_typer(gateway_keys.app, name="keys", help="Make, list and revoke users' keys.")


@app.callback()
def gateway(context: typer.Context, settings: SettingsOption = None) -> None:
    """Serve the HTTP API until told to stop: OpenAI's, over Kafka.

    Takes its settings from LORELAY_* variables; any number may run, on any machine.
    """
    read_settings_file(settings)
    if context.invoked_subcommand is not None:
        return
    with importing():
        from streams.gateway.main import run

    raise typer.Exit(run())
