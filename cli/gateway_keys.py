"""`lorelay gateway keys`: who may ask the gateway, and how much."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.printable import printable
from schemas.errors import ConfigurationError
from streams.gateway.access.keys import Key, change_keys, make_key, read_keys

#: Still a number that JSON's readers keep as it is.
_MOST = 2**53

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)

File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="LORELAY_GATEWAY_KEYS",
        help="The file of keys; running gateways read it again when it changes.",
    ),
]


@app.command()
def add(
    tenant: Annotated[str, typer.Argument(help="Whose queries they are; it goes with each.")],
    file: File = None,
    name: Annotated[str | None, typer.Option(help="What the key is for, for the list.")] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="Requests a minute; without limit if not given."),
    ] = None,
    tokens_per_day: Annotated[
        int | None, typer.Option(min=1, max=_MOST, help="Tokens read and written in a UTC day.")
    ] = None,
    at_once: Annotated[
        int | None, typer.Option("--at-once", min=1, max=_MOST, help="Queries under way at a time.")
    ] = None,
    priority: Annotated[
        int, typer.Option(min=0, max=9, help="The highest that its queries get.")
    ] = 9,
) -> None:
    """Make a key and print it, this once: the file keeps no more than its hash.

    Each gateway counts a key's limits by itself.

    Examples:

    lorelay gateway keys add clara --requests-per-minute 600 --tokens-per-day 2000000

    export OPENAI_API_KEY=$(lorelay gateway keys add clara --at-once 16 --priority 5)
    """
    key, text = make_key(
        tenant,
        datetime.now(UTC),
        name=name,
        requests_per_minute=requests_per_minute,
        tokens_per_day=tokens_per_day,
        most_at_once=at_once,
        priority=priority,
    )
    change_keys(_named(file), lambda keys: [*keys, key])
    Console(stderr=True, highlight=False).print(
        f"[green]made[/] key {key.id} of {escape(printable(tenant))}; it is not shown again:"
    )
    typer.echo(text)


@app.command("list")
def list_keys(
    file: File = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the keys and what they allow.

    Examples:

    lorelay gateway keys list

    lorelay gateway keys list --json | jq -r '.[].tenant'
    """
    keys = read_keys(_named(file))
    if as_json:
        shown = [{k: v for k, v in asdict(key).items() if k != "sha256"} for key in keys]
        typer.echo(json.dumps(shown, default=datetime.isoformat, indent=2))
        return
    Console().print(_table(keys))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As the list has it.")],
    file: File = None,
) -> None:
    """Take a key back: from now on it opens nothing. What runs is finished.

    Examples:

    lorelay gateway keys revoke 3f2a91c4
    """

    def change(keys: list[Key]) -> Sequence[Key]:
        if not any(key.id == key_id for key in keys):
            raise ConfigurationError(f"There is no key {key_id}: `lorelay gateway keys list`.")
        now = datetime.now(UTC)
        return [
            replace(key, revoked_at=key.revoked_at or now) if key.id == key_id else key
            for key in keys
        ]

    change_keys(_named(file), change)
    typer.echo(f"Key {key_id} is revoked.")


def _named(file: Path | None) -> Path:
    if file is None:
        raise ConfigurationError("Name the file of keys: --file, or LORELAY_GATEWAY_KEYS.")
    return file


def _table(keys: Sequence[Key]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for column in ("key", "tenant", "name", "state"):
        table.add_column(column, overflow="fold", no_wrap=column in ("key", "state"))
    for column in ("requests\n/min", "tokens\n/day", "at\nonce", "priority"):
        table.add_column(column, justify="right", no_wrap=True)
    for key in keys:
        table.add_row(
            key.id,
            escape(printable(key.tenant)),
            escape(printable(key.name or "")),
            "[red]revoked[/]" if key.revoked_at else "[green]counts[/]",
            *(_limit(n) for n in (key.requests_per_minute, key.tokens_per_day, key.most_at_once)),
            str(key.priority),
        )
    return table


def _limit(number: Any) -> str:
    return "-" if number is None else f"{number:,}"
