"""`lorelay adapters`: register, list and show, and all that steers a version's life."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import versions
from cli.canary import canary
from cli.history import history
from cli.printable import printable, printable_lines
from cli.query_client import quieten_clients
from cli.register import register
from cli.registry_reading import read_registry
from cli.sync.command import sync
from schemas.json_form import to_json
from schemas.records import AdapterVersion
from streams.kafka.settings import KafkaSettings
from streams.registry.reader import Registry, Selectable

_STATUS_STYLES = {"active": "green", "canary": "yellow", "failed": "red", "retired": "dim"}
_SHOWN_EXAMPLES = 5
#: What a key has of a list's line at least, and what the other columns need to stand in one; the
#: rest of a longer key stands below.
_KEY_CELLS = 30
_OTHER_CELLS = 70

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


for steer in (
    *(register, canary, versions.promote, versions.split),
    *(versions.rollback, versions.retire, history, sync),
):
    app.command()(steer)


@app.command("list")
def list_versions(
    everything: Annotated[
        bool, typer.Option("--all", help="Retired and failed versions, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the adapter versions, their states and their shares of their families' queries.

    Examples:

    lorelay adapters list

    lorelay adapters list --json | jq -r '.[].adapter_id'
    """
    quieten_clients()
    registry = asyncio.run(read_registry(KafkaSettings()))
    shown = [v for v in registry.versions() if everything or v.status not in ("retired", "failed")]
    if as_json:
        typer.echo(json.dumps([json.loads(to_json(version)) for version in shown], indent=2))
        return
    console = Console()
    if not shown:
        console.print("No adapter is registered: `lorelay adapters register FOLDER` does it.")
        return
    console.print(_table(registry, shown, console.width))


@app.command()
def show(
    reference: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="id@version, an id, or a family.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    example_count: Annotated[
        int, typer.Option("--examples", min=0, help="How many examples to print.")
    ] = _SHOWN_EXAMPLES,
) -> None:
    """Show one version: where it comes from, how it was trained, what selection learns from.

    Examples:

    lorelay adapters show legal-qa-v1@1.0.0

    lorelay adapters show legal-qa --examples 20
    """
    quieten_clients()
    registry = asyncio.run(read_registry(KafkaSettings()))
    version = registry.get(reference) or registry.resolve(reference)
    if as_json:
        typer.echo(to_json(version, indent=True))
        return
    console = Console(highlight=False)
    console.print(_details(registry, version))
    for example in (registry.examples(version.key) or ())[:example_count]:
        mark = "  [dim](held out)[/]" if example.held_out else ""
        console.print(f"  {escape(printable(example.text))}{mark}", soft_wrap=True)


def _table(registry: Registry, versions: Sequence[AdapterVersion], width: int) -> Table:
    selectable = registry.selectable()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    longest = max(len(version.key) for version in versions)
    cells = min(longest, max(_KEY_CELLS, width - _OTHER_CELLS))
    table.add_column("adapter", overflow="fold", width=cells)
    table.add_column("status", no_wrap=True)
    for column in ("share", "selected"):
        table.add_column(column, overflow="fold")
    for column in ("revision", "examples"):
        table.add_column(column, justify="right", no_wrap=True)
    for version in versions:
        style = _STATUS_STYLES.get(version.status, "")
        examples = registry.examples(version.key)
        table.add_row(
            escape(printable(version.key)),
            f"[{style}]{version.status}[/]" if style else escape(printable(version.status)),
            escape(printable(_share(registry, version))),
            _selected(registry, version, selectable),
            str(registry.traffic(version.family).revision),
            "arriving" if examples is None else str(len(examples)),
        )
    return table


def _share(registry: Registry, version: AdapterVersion) -> str:
    """The version's part of its family's queries, and what its arm is called."""
    shares = registry.shares(version.family)
    total = sum(share.weight for share in shares)
    for share in shares:
        if share.adapter == version.key:
            return f"{100 * share.weight / total:.4g} % ({share.variant})"
    return ""


def _selected(
    registry: Registry, version: AdapterVersion, selectable: Mapping[str, Selectable]
) -> str:
    """How a query gets to the version."""
    if version.key in selectable:
        return "yes"
    if any(share.adapter == version.key for share in registry.shares(version.family)):
        stands_for_it = any(s.version.family == version.family for s in selectable.values())
        return "with its family" if stands_for_it else "by name only"
    if version.status == "active":
        return "by name only"
    return "by exact name only" if registry.is_servable(version.key) else "no"


def _details(registry: Registry, version: AdapterVersion) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    examples = registry.examples(version.key) or ()
    held_out = sum(example.held_out for example in examples)
    training, provenance = version.training, version.provenance
    rows: dict[str, Any] = {
        "adapter": version.key,
        "status": version.status,
        "share": _share(registry, version),
        "selected": _selected(registry, version, registry.selectable()),
        "family": version.family,
        "domain": version.domain,
        "task": version.task_type,
        "languages": ", ".join(version.languages),
        "base model": version.base_model,
        "rank": training.lora_rank,
        "alpha": training.lora_alpha,
        "dropout": training.lora_dropout,
        "target modules": ", ".join(training.target_modules),
        "trained on": training.dataset_name,
        "samples": training.num_samples,
        "epochs": training.epochs,
        "learning rate": training.learning_rate,
        "files": version.artifact and version.artifact.uri,
        "sha256": version.artifact and version.artifact.sha256,
        "size": version.artifact and f"{version.artifact.size_bytes:,} bytes",
        "prompt template": version.prompt_template,
        "created by": provenance.created_by,
        "data source": provenance.data_source_uri,
        "parent": provenance.parent_adapter_id,
        "created at": version.created_at,
        "examples": f"{len(examples)}, {held_out} of them held out",
        **{f"custom {name}": value for name, value in version.custom.items()},
    }
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(escape(printable(name)), escape(printable_lines(str(value))))
    return table
