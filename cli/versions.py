"""`lorelay adapters promote|split|rollback|retire`: what a version's life is steered by."""

import asyncio
import getpass
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cli.plain_errors import plain_errors
from cli.printable import printable
from cli.query_client import quieten_clients
from schemas.codec import Codec
from schemas.json_form import to_json
from schemas.records import LifecycleEvent, TrafficShare
from streams.kafka.settings import KafkaSettings
from streams.registry.change import Change, Intent
from streams.registry.lifecycle import promoted, retired, rolled_back
from streams.registry.lifecycle import split as split_over
from streams.registry.reader import Registry
from streams.registry.references import family_of, newest, weights
from streams.registry.traffic import moved
from streams.registry.writer import RegistryWriter

By = Annotated[str | None, typer.Option("--by", metavar="WHO", help="Who does it; else user@host.")]
Reason = Annotated[
    str | None, typer.Option("--reason", "-r", help="Why, in a sentence for the history.")
]
Expected = Annotated[
    int | None,
    typer.Option(
        "--expect-revision",
        metavar="N",
        help="Only if the family's split is still at this revision, as `list` shows it.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what changed as JSON.")]

Plan = Callable[[Registry, Intent], Change]


def promote(
    adapter: Annotated[
        str,
        typer.Argument(
            metavar="ADAPTER", help="id@version, an id (its newest), or a family (its canary)."
        ),
    ],
    by: By = None,
    reason: Reason = None,
    expected: Expected = None,
    as_json: AsJson = False,
) -> None:
    """Give a version all queries of its family, within seconds.

    It becomes the active version of its id. The one that was goes on standing by: queries may
    still name it exactly, and a rollback brings it back. What runs is finished.

    Examples:

    lorelay adapters promote legal-qa-v2@2.0.0

    lorelay adapters promote legal-qa-v1 --reason "Half as many complaints." --by anna
    """
    run(lambda registry, intent: promoted(registry, newest(registry, adapter), intent))(
        by, reason, expected, as_json
    )


def split(
    family: Annotated[str, typer.Argument(metavar="FAMILY")],
    arms: Annotated[
        list[str],
        typer.Argument(metavar="ARM=WEIGHT...", help="v1=90, legal-qa-v1=90 or id@version=90."),
    ],
    by: By = None,
    reason: Reason = None,
    expected: Expected = None,
    as_json: AsJson = False,
) -> None:
    """Split a family's queries over some of its versions.

    A session stays with its version (a query without one goes by its id), on every router. When
    weights change, as few sessions as possible change theirs. A query that names an exact version
    passes the split by.

    Examples:

    lorelay adapters split legal-qa v1=90 v2=10

    lorelay adapters split legal-qa legal-qa-v1@1.0.0=1 legal-qa-v1@1.1.0=1 --reason "A or B?"
    """

    def plan(registry: Registry, intent: Intent) -> Change:
        named = family_of(registry, family)
        return split_over(registry, named, weights(registry, named, arms), intent)

    run(plan)(by, reason, expected, as_json)


def rollback(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="Or one of its adapters.")],
    by: By = None,
    reason: Reason = None,
    expected: Expected = None,
    as_json: AsJson = False,
) -> None:
    """Go back to the split that a family had before, session by session.

    Versions that only the present split has are marked as failed: nobody gets them until they are
    named exactly in promote, split or canary. Another rollback goes back one more step, ten at
    most.

    Examples:

    lorelay adapters rollback legal-qa

    lorelay adapters rollback legal-qa --reason "It quotes repealed law." --json
    """
    run(lambda registry, intent: rolled_back(registry, family_of(registry, family), intent))(
        by, reason, expected, as_json
    )


def retire(
    version: Annotated[str, typer.Argument(metavar="ID@VERSION")],
    force: Annotated[
        bool, typer.Option("--force", help="Though nobody of its family serves then.")
    ] = False,
    by: By = None,
    reason: Reason = None,
    expected: Expected = None,
    as_json: AsJson = False,
) -> None:
    """Take a version out of service; its share goes to the others of the split.

    What runs is finished. Queries that name it exactly end with the error `unknown_adapter`,
    unless their `fallback` says who shall answer instead.

    Examples:

    lorelay adapters retire legal-qa-v1@1.0.0

    lorelay adapters retire tax-qa-v1@1.0.0 --force --reason "Nobody asks about it."
    """

    def plan(registry: Registry, intent: Intent) -> Change:
        found = registry.get(version) or registry.resolve(version)
        return retired(registry, found, intent, even_the_last=force)

    run(plan)(by, reason, expected, as_json)


def whoever(by: str | None) -> str:
    """Who stands in the history."""
    return by or f"{getpass.getuser()}@{platform.node()}"


def run(plan: Plan) -> Callable[[str | None, str | None, int | None, bool], None]:
    """A function that makes the change and prints it."""

    def change(by: str | None, reason: str | None, expected: int | None, as_json: bool) -> None:
        quieten_clients()
        intent = Intent(whoever(by), datetime.now(UTC), reason, expected_revision=expected)
        asyncio.run(_change(KafkaSettings(), plan, intent, as_json))

    return change


async def _change(settings: KafkaSettings, plan: Plan, intent: Intent, as_json: bool) -> None:
    told = Console(stderr=True, highlight=False)
    before: tuple[TrafficShare, ...] = ()

    def planned(registry: Registry) -> Change:
        nonlocal before
        made = plan(registry, intent)
        before = registry.shares(made.family)
        return made

    with told.status("Reading the registry"):
        async with (
            plain_errors(settings),
            RegistryWriter(settings, Codec(), intent.actor) as writer,
        ):
            change, warnings = await writer.change(planned)
            now = writer.registry.shares(change.family)
            revision = writer.registry.traffic(change.family).revision
    for warning in warnings:
        told.print(f"[yellow]Note:[/] {escape(printable(warning))}", soft_wrap=True)
    if as_json:
        typer.echo(_as_json(change, now, revision))
        return
    console = Console(highlight=False)
    for event in change.events:
        console.print(sentence(event), soft_wrap=True)
    if now:
        console.print(
            f"{escape(printable(change.family))}: {escape(printable(shares_text(now)))}",
            soft_wrap=True,
        )
    if before and now and (part := moved(before, now)):
        console.print(f"[dim]{part:.1%} of its sessions change their version.[/]")
    console.print(f"[dim]The split is at revision {revision}.[/]")


def sentence(event: LifecycleEvent) -> str:
    """An event in a line, as Rich's markup."""
    about = f" [bold]{escape(printable(event.adapter))}[/]" if event.adapter else ""
    step = ""
    if event.to_status and event.from_status != event.to_status:
        came_from = f"{event.from_status} → " if event.from_status else ""
        step = f" ({came_from}{event.to_status})"
    name = printable(event.event.replace("_", " "))
    return f"[green]{escape(name)}[/]{about}{escape(printable(step))}"


def shares_text(shares: tuple[TrafficShare, ...]) -> str:
    """A split in a line."""
    total = sum(share.weight for share in shares)
    return ", ".join(f"{share.adapter} {100 * share.weight / total:.4g} %" for share in shares)


def _as_json(change: Change, shares: tuple[TrafficShare, ...], revision: int) -> str:
    return json.dumps(
        {
            "family": change.family,
            "revision": revision,
            "shares": [
                {"adapter": s.adapter, "variant": s.variant, "weight": s.weight} for s in shares
            ],
            "events": [json.loads(to_json(event)) for event in change.events],
        },
        ensure_ascii=False,
        indent=2,
    )
