"""`lorelay topics`: create them, and list who needs which rights on them."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.query_client import quieten_clients
from streams.kafka.acls import (
    Acl,
    client_acls,
    dashboard_acls,
    gateway_acls,
    judge_acls,
    markdown_table,
    operator_acls,
    registrar_acls,
    router_acls,
    worker_acls,
)
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings

app = typer.Typer(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)


class Form(StrEnum):
    """How rights are printed."""

    KAFKA_ACLS = "kafka-acls"
    JSON = "json"
    MARKDOWN = "markdown"


@app.callback()
def topics(
    context: typer.Context,
    partitions: Annotated[
        int, typer.Option(min=1, max=100_000, help="Of the topics that share out work.")
    ] = 4,
    replication: Annotated[
        int, typer.Option(min=-1, max=32_767, help="Copies of each; -1: the cluster's default.")
    ] = -1,
) -> None:
    """Create the topics that are missing, and say how the others differ from what is expected.

    No topic that is there is ever changed; the exit status is 1 if one differs.
    """
    if context.invoked_subcommand is not None:
        return
    quieten_clients()
    console = Console()
    settings = KafkaSettings()
    differences = asyncio.run(
        create_topics(settings, settings.topics.specs(partitions), replication)
    )
    for difference in differences:
        console.print(f"[yellow]differs[/] {difference}", soft_wrap=True, highlight=False)
    if differences:
        raise typer.Exit(1)
    console.print(f"All topics are there, as expected, at {settings.kafka}.", highlight=False)


def _principals(role: str, meaning: str) -> Any:
    return typer.Option(
        metavar="PRINCIPAL...",
        default_factory=lambda: [f"User:{role}"],
        show_default=f"User:{role}",
        help=meaning,
    )


@app.command()
def acls(
    router: Annotated[list[str], _principals("router", "Who runs routers.")],
    judge: Annotated[
        list[str],
        typer.Option(
            metavar="PRINCIPAL...",
            default_factory=lambda: ["User:router"],
            show_default="User:router",
            help="Whose routers decide on canaries: what they need beyond a router's rights.",
        ),
    ],
    worker: Annotated[list[str], _principals("worker", "Who runs workers.")],
    gateway: Annotated[list[str], _principals("gateway", "Who runs gateways.")],
    registrar: Annotated[
        list[str],
        _principals("gateway", "Who runs gateways with an admin; needs the gateway's rights, too."),
    ],
    dashboard: Annotated[
        list[str],
        typer.Option(
            metavar="PRINCIPAL...",
            default_factory=lambda: ["User:gateway"],
            show_default="User:gateway",
            help="Whose gateways show all on their live page: beyond a gateway's rights.",
        ),
    ],
    client: Annotated[list[str], _principals("client", "Who asks.")],
    operator: Annotated[list[str], _principals("operator", "Who administers.")],
    form: Annotated[Form, typer.Option("--format", help="How to print them.")] = Form.KAFKA_ACLS,
) -> None:
    """List the rights that each role needs on the cluster; nothing is asked or changed.

    Topic and group names are those of the LORELAY_* variables. Each line of kafka-acls holds
    the arguments of one call of Kafka's own tool:

    lorelay topics acls --client User:anna --client User:ben | xargs -L1 kafka-acls.sh
    --bootstrap-server HOST:PORT --command-config admin.properties
    """
    roles = _roles()
    if form is Form.MARKDOWN:
        typer.echo(markdown_table(roles))
        return
    principals = {
        "router": router,
        "judge": judge,
        "worker": worker,
        "gateway": gateway,
        "registrar": registrar,
        "dashboard": dashboard,
        "client": client,
        "operator": operator,
    }
    granted = [
        (principal, acl) for role in roles for principal in principals[role] for acl in roles[role]
    ]
    if form is Form.JSON:
        typer.echo(json.dumps([{"principal": p} | asdict(acl) for p, acl in granted], indent=2))
        return
    for principal, acl in granted:
        typer.echo(acl.arguments(principal))


def _roles() -> dict[str, Sequence[Acl]]:
    from inference.worker.settings import WorkerSettings
    from streams.router.settings import RouterSettings

    names = KafkaSettings().topics
    router_group, worker_group = RouterSettings().router_group, WorkerSettings().worker_group
    return {
        "router": router_acls(names, router_group),
        "judge": judge_acls(names),
        "worker": worker_acls(names, worker_group),
        "gateway": gateway_acls(names),
        "registrar": registrar_acls(names),
        "dashboard": dashboard_acls(names, router_group, worker_group),
        "client": client_acls(names),
        "operator": operator_acls(names),
    }
