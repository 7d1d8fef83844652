"""`lorelay metrics sink`."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.status import Status

from cli.plain_errors import plain_errors
from cli.printable import printable
from cli.query_client import no_topic, quieten_clients
from streams.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from streams.sink.sink import Progress


def sink(
    database: Annotated[
        str,
        typer.Argument(
            metavar="DATABASE",
            envvar="LORELAY_POSTGRES",
            show_default=False,
            help="postgresql://USER@HOST:PORT/NAME, or key=value pairs as psql takes them.",
        ),
    ],
    once: Annotated[bool, typer.Option("--once", help="Write what is there now, and end.")] = False,
) -> None:
    """Keep the table adapter_metrics of a PostgreSQL database up to date.

    A row per adapter and window. A second table, adapter_version_metrics,
    has one per version. Both are made if missing, and never altered.

    Each record of the metrics topic is in them exactly once, whatever is
    killed and however many sinks run. It goes on until Ctrl-C.

    Others on the machine see a password on the command line: set
    LORELAY_POSTGRES to the whole address, or use PGPASSWORD or ~/.pgpass.

    Examples:

    lorelay metrics sink postgresql://lorelay@db.internal/metrics

    LORELAY_POSTGRES=postgresql://me:SECRET@db/metrics lorelay metrics sink

    lorelay metrics sink "service=metrics" --once
    """
    quieten_clients()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(KafkaSettings(), database, once))


class _Display:
    """Sentences on standard error, and on a terminal a line that says how far it is."""

    def __init__(self, place: str) -> None:
        self._console = Console(stderr=True)
        self._place = place
        self.status = Status(f"Writing to {place}", console=self._console)

    def on_trouble(self, sentence: str) -> None:
        self._console.print(printable(sentence), markup=False, highlight=False, soft_wrap=True)

    def on_progress(self, progress: "Progress") -> None:
        self.status.update(f"Writing to {self._place}: {_summary(progress)}")


async def _run(settings: KafkaSettings, database: str, once: bool) -> None:
    from streams.sink.address import DatabaseAddress
    from streams.sink.log import TopicMissing
    from streams.sink.sink import MetricsSink

    address = DatabaseAddress.parse(database)
    display = _Display(str(address))
    writing = MetricsSink(settings, address, display)
    async with plain_errors(settings):
        try:
            with display.status:
                await writing.run(once=once)
        except TopicMissing:
            raise no_topic(settings, settings.topics.metrics) from None
        except asyncio.CancelledError:
            pass  # Ctrl-C, after which only the sum is left to say
    typer.echo(f"{address}: {_summary(writing.progress)}")


def _summary(progress: "Progress") -> str:
    until = f", up to {progress.until.astimezone():%H:%M:%S}" if progress.until else ""
    left_out = f", {progress.unreadable:,} left out" if progress.unreadable else ""
    return f"{progress.records:,} records written{until}{left_out}"
