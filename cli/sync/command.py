"""`lorelay adapters sync`."""

import asyncio
import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cli.metrics import MetricsTopic
from cli.plain_errors import plain_errors
from cli.printable import printable
from cli.query_client import quieten_clients
from cli.registry_reading import read_registry
from cli.sync.pulling import Synced, pull
from cli.sync.themisdb import SyncSettings, ThemisDb
from cli.versions import whoever
from schemas.errors import LorelayError
from streams.gateway.themis.shapes import figures
from streams.kafka.settings import KafkaSettings

_WINDOW = timedelta(minutes=10)
_STYLES = {"registered": "green", "new": "green", "conflict": "red", "refused": "yellow"}


class NotInStep(LorelayError):
    """Some versions differ, or could not be taken over; they are printed already."""

    code = "not_in_step"


def sync(
    url: Annotated[str, typer.Argument(help="Where ThemisDB's HTTP API is.")],
    push_metrics: Annotated[
        bool, typer.Option("--push-metrics", help="Hand it our figures of the last ten minutes.")
    ] = False,
    watch: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Go on, so often.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON each.")] = False,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHO", help="Who does it; else user@host.")
    ] = None,
) -> None:
    """Register what a ThemisDB's registry has and ours lacks.

    Versions that both have are compared; where they differ, in their state too, that is printed
    and nothing is changed, on either side. Weights have to lie where the metadata says. The
    token is LORELAY_THEMISDB_TOKEN. The exit status is 1 where the two are not in step.

    Examples:

    lorelay adapters sync http://themisdb:8765 --dry-run

    lorelay adapters sync http://themisdb:8765 --watch 60 --push-metrics
    """
    quieten_clients()
    run = _Run(url, push_metrics, dry_run, as_json, whoever(by))
    if watch is None:
        if not asyncio.run(run.once()):
            raise NotInStep("The registries are not in step.")
        return
    asyncio.run(run.again_and_again(watch))


class _Run:
    def __init__(
        self, url: str, push_metrics: bool, is_dry: bool, as_json: bool, actor: str
    ) -> None:
        self._url = url
        self._push_metrics = push_metrics
        self._is_dry = is_dry
        self._as_json = as_json
        self._actor = actor
        self._settings = KafkaSettings()
        self._token = SyncSettings().themisdb_token
        self._console = Console(highlight=False)
        self._told: dict[str, Synced] = {}

    async def again_and_again(self, seconds: float) -> None:
        """What fails is tried again; what has been told is told when it changes."""
        while True:
            try:
                await self.once()
            except LorelayError as error:  # ThemisDB or Kafka is away, others write
                self._console.print(
                    f"[yellow]Note:[/] {escape(printable(str(error)))}", soft_wrap=True
                )
            await asyncio.sleep(seconds)

    async def once(self) -> bool:
        """Whether both are in step now."""
        counts: Counter[str] = Counter()
        registry = await read_registry(self._settings)
        async with ThemisDb(self._url, self._token) as themisdb, plain_errors(self._settings):
            async for synced in pull(themisdb, registry, self._settings, self._actor, self._is_dry):
                counts[synced.outcome] += 1
                self._tell(synced)
            if self._push_metrics and not self._is_dry:
                counts["pushed"] = await self._push(themisdb)
        if not self._as_json:
            said = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
            self._console.print(f"[dim]{said or 'Both are empty'}.[/]")
        return not (counts["conflict"] or counts["refused"])

    def _tell(self, synced: Synced) -> None:
        if self._told.get(synced.adapter) == synced:
            return
        self._told[synced.adapter] = synced
        if self._as_json:
            typer.echo(json.dumps(asdict(synced), ensure_ascii=False))
            return
        style = _STYLES.get(synced.outcome, "dim")
        self._console.print(f"[{style}]{synced.outcome}[/] {escape(printable(synced.adapter))}")
        for note in synced.notes:
            self._console.print(f"  {escape(printable(note))}", soft_wrap=True)

    async def _push(self, themisdb: ThemisDb) -> int:
        """How many rows; of each adapter one, over all its versions."""
        now = datetime.now(UTC)
        async with MetricsTopic.since(self._settings, now - _WINDOW) as topic:
            windows = await topic.read_to_end()
        adapters = sorted({window.adapter_id for window in windows if window.adapter_version})
        for adapter in adapters:
            those = [w for w in windows if w.adapter_id == adapter]
            await themisdb.push(figures(adapter, those, _WINDOW, now))
        return len(adapters)
