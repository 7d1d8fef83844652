"""The `lorelay` command: names every subcommand and imports only the one that is called."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.main import get_command

from cli.printable import printable_lines
from schemas.errors import ConfigurationError, LorelayError
from streams.garbage import importing


@dataclass(frozen=True, slots=True)
class Entry:
    """A subcommand: ``target`` is "module:name" of a function, or of a Typer app with its own."""

    name: str
    target: str
    summary: str
    panel: str


_STACK = "The local stack"
_QUERIES = "Queries and adapters"
_PROCESSES = "Processes, in the foreground"

COMMANDS = (
    Entry(
        "up",
        "cli.up:up",
        "Start everything; wait until it is ready.",
        _STACK,
    ),
    Entry("status", "cli.status:status", "What runs, since when, and whether it is ready.", _STACK),
    Entry("logs", "cli.logs:logs", "Show or follow a process's log.", _STACK),
    Entry("down", "cli.down:down", "Stop what `up` started.", _STACK),
    Entry("ask", "cli.ask:ask", "Send a query and print its answer.", _QUERIES),
    Entry("batch", "cli.batch.command:batch", "Ask what a file has, into another.", _QUERIES),
    Entry("cancel", "cli.cancel:cancel", "Take queries back that are not answered yet.", _QUERIES),
    Entry("feedback", "cli.feedback:feedback", "Say what an answer was worth.", _QUERIES),
    Entry("route", "cli.route:route", "Show which adapter a text selects, and why.", _QUERIES),
    Entry("adapters", "cli.adapters:app", "Register, show, promote and split adapters.", _QUERIES),
    Entry("selection", "cli.selection:app", "Measure the selection; find what to mend.", _QUERIES),
    Entry("dead-letters", "cli.dead_letters:app", "What could not be handled.", _QUERIES),
    Entry("metrics", "cli.metrics:app", "Figures by adapter; a sink for them.", _QUERIES),
    Entry("train", "cli.train:train", "Train an adapter from examples.", _QUERIES),
    Entry("topics", "cli.topics:app", "Create missing topics; check the others.", _QUERIES),
    Entry("settings", "cli.settings:settings", "List the settings of a process.", _PROCESSES),
    Entry("router", "cli.router:router", "Route queries to adapters.", _PROCESSES),
    Entry("worker", "cli.worker:worker", "Answer requests with the engine.", _PROCESSES),
    Entry("gateway", "cli.gateway:app", "Serve the HTTP API; make keys for it.", _PROCESSES),
)

_HELP = """Serve many LoRA adapters of one base model from Kafka.

Examples:

  lorelay up                                   everything, with the demo's model

  lorelay up --engine echo --workers 2         two workers, no model

  lorelay ask "How may sepsis show itself?"    the adapter is selected by meaning

  lorelay route "How may sepsis show itself?"  shows the selection alone

  lorelay logs worker --follow                 what the worker does

  lorelay down                                 stop everything

Settings come from LORELAY_* variables; LORELAY_KAFKA=host:port uses a cluster of yours.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 2 for a mistake in its settings, 1 for a failure."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for argument in given:
        if not _is_text(argument):
            return _complain(f"The argument {argument} is not UTF-8.", 2)
    try:
        get_command(_build(given)).main(args=given, prog_name="lorelay")
    except ConfigurationError as error:
        return _complain(error, 2)
    except LorelayError as error:
        return _complain(error, 1)
    except ValueError as error:
        sentence = _settings_mistake(error)
        if sentence is None:
            raise
        return _complain(sentence, 2)
    except KeyboardInterrupt:
        return 130
    return 0


def _is_text(argument: str) -> bool:
    """Whether it is UTF-8; what names a file may be anything else, too."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.path.exists(argument.partition("=")[2] or argument)
    return True


def _build(arguments: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common_options)
    called = arguments[0] if arguments else None
    for entry in COMMANDS:
        target = _load(entry.target) if entry.name == called else _not_called
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=entry.name, help=entry.summary, rich_help_panel=entry.panel)
        else:
            summary = None if entry.name == called else entry.summary
            app.command(entry.name, help=summary, rich_help_panel=entry.panel)(target)
    return app


def _load(target: str) -> Callable[..., Any] | typer.Typer:
    module, _, name = target.partition(":")
    with importing():
        loaded: Callable[..., Any] | typer.Typer = getattr(importlib.import_module(module), name)
    return loaded


def _not_called() -> None:
    """Stands in for the commands that are only listed."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lorelay {version('lorelay')}")
        raise typer.Exit


def _common_options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options that stand before a command."""


def _settings_mistake(error: ValueError) -> str | None:
    """A sentence on a LORELAY_* variable of the wrong kind; None for any other error."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(error, pydantic.ValidationError):
        return None
    if not error.title.endswith("Settings"):
        return None
    return "; ".join(
        f"LORELAY_{'_'.join(str(part) for part in problem['loc']).upper()}={problem['input']!r}: "
        f"{problem['msg']}"
        for problem in error.errors()
    )


def _complain(problem: LorelayError | str, status: int) -> int:
    print(f"lorelay: {printable_lines(str(problem))}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
