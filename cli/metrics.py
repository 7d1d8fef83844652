"""`lorelay metrics`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli.metrics_sink import sink
from cli.printable import printable
from cli.query_client import no_topic, quieten_clients, unreachable
from schemas.codec import Codec
from schemas.errors import ConfigurationError, DecodeError
from schemas.json_form import to_json
from schemas.records import AdapterMetrics
from streams.kafka.settings import KafkaSettings
from streams.telemetry.tally import merge, newest

#: A window is written some seconds after its end: so much further back is read.
_DELAY = timedelta(seconds=30)
#: Far longer than the topic keeps them.
_LONGEST = timedelta(days=366)
_POLL_MS = 500
_FETCH_WAIT_MS = 100


app = typer.Typer(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
app.command()(sink)


@app.callback()
def metrics(
    context: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on showing them, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="A line of JSON per adapter; with --follow, per window."),
    ] = False,
    window: Annotated[float, typer.Option(min=1, help="Seconds to look back.")] = 60.0,
) -> None:
    """Show requests, errors and latencies of each adapter version, from the metrics topic."""
    if context.invoked_subcommand is not None:
        return
    quieten_clients()
    settings = KafkaSettings()
    if not window <= _LONGEST.total_seconds():
        raise ConfigurationError(
            f"--window is {window:g} seconds, it must be {_LONGEST.total_seconds():.0f} at most."
        )
    length = timedelta(seconds=window)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run((_follow if follow else _once)(settings, length, as_json))


class MetricsTopic:
    """The metrics topic from some time on; a context that connects and disconnects."""

    def __init__(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._codec = Codec()
        self.unreadable = 0

    @classmethod
    @asynccontextmanager
    async def since(cls, settings: KafkaSettings, start: datetime) -> "AsyncIterator[MetricsTopic]":
        """Raises: AccessRefused, ConfigurationError where the cluster or the topic is not there."""
        consumer = AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            **settings.client_kwargs(),
        )
        topic = settings.topics.metrics
        try:
            await consumer.start()
            if topic not in await consumer.topics():
                raise no_topic(settings, topic)
            await consumer._client.add_topic(topic)
            numbers = consumer.partitions_for_topic(topic) or set()
            partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            await _seek(consumer, partitions, start)
            yield cls(consumer, partitions)
        except KafkaError as error:
            raise await unreachable(settings, error) from error
        finally:
            await consumer.stop()

    async def read(self) -> list[AdapterMetrics]:
        """What has come, after half a second at most."""
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
        return [
            metrics
            for records in fetched.values()
            for record in records
            if (metrics := self._decoded(record.value)) is not None
        ]

    async def read_to_end(self) -> list[AdapterMetrics]:
        """All that is there now."""
        ends = await self._consumer.end_offsets(self._partitions)
        found: list[AdapterMetrics] = []
        for partition in self._partitions:
            while await self._consumer.position(partition) < ends[partition]:
                found += await self.read()
        return found

    def _decoded(self, value: bytes | None) -> AdapterMetrics | None:
        try:
            return self._codec.decode(AdapterMetrics, value or b"")
        except DecodeError:
            self.unreadable += 1
            return None


async def _seek(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], start: datetime
) -> None:
    start_ms = int(start.timestamp() * 1000)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, start_ms))
    for partition in partitions:
        if found[partition] is None:
            await consumer.seek_to_end(partition)
        else:
            consumer.seek(partition, found[partition].offset)


async def _once(settings: KafkaSettings, length: timedelta, as_json: bool) -> None:
    async with MetricsTopic.since(settings, datetime.now(UTC) - length - _DELAY) as topic:
        adapters = newest(await topic.read_to_end(), length)
        if as_json:
            _print_json(adapters)
        else:
            Console().print(view(adapters, length, topic.unreadable))


async def _follow(settings: KafkaSettings, length: timedelta, as_json: bool) -> None:
    async with MetricsTopic.since(settings, datetime.now(UTC) - length - _DELAY) as topic:
        if as_json:
            while True:
                _print_json(await topic.read())
        records: list[AdapterMetrics] = []
        with Live(auto_refresh=False) as live:
            while True:
                records += await topic.read()
                oldest = datetime.now(UTC) - length - _DELAY
                records = [record for record in records if record.window_end > oldest]
                live.update(view(newest(records, length), length, topic.unreadable), refresh=True)


def _print_json(records: Iterable[AdapterMetrics]) -> None:
    for record in records:
        typer.echo(to_json(replace(record, sketch=b"")))


def view(
    adapters: Sequence[AdapterMetrics], length: timedelta, unreadable: int = 0
) -> RenderableType:
    """The figures as a table with a last line for all adapters together."""
    seconds = f"{length.total_seconds():g} s"
    parts: list[RenderableType] = []
    if adapters:
        parts.append(_table(adapters, seconds))
    else:
        parts.append(Text(f"No responses in the last {seconds}."))
    if unreadable:
        parts.append(
            Text(f"{unreadable} records can't be read: they were written by another version.")
        )
    return Group(*parts)


def _table(adapters: Sequence[AdapterMetrics], seconds: str) -> Table:
    newest = max(adapter.window_end for adapter in adapters).astimezone()
    table = Table(
        title=f"The {seconds} up to {newest:%H:%M:%S}",
        title_justify="left",
        caption="Milliseconds of the whole way (p50, p95), to the first token, and in the queue.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("adapter", overflow="fold")
    for heading in (
        *("count", "per s", "errors", "p50", "p95"),
        *("first\np95", "queue\np95", "tok/s"),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for adapter in adapters:
        table.add_row(*_row(adapter))
    if len(adapters) > 1:
        table.add_section()
        table.add_row(*_row(_together(adapters)), style="bold")
    return table


def _together(adapters: Sequence[AdapterMetrics]) -> AdapterMetrics:
    unnamed = (replace(adapter, adapter_id="all", adapter_version="") for adapter in adapters)
    return replace(merge(unnamed), throughput_qps=sum(a.throughput_qps for a in adapters))


def _row(adapter: AdapterMetrics) -> list[str]:
    version = f"@{adapter.adapter_version}" if adapter.adapter_version else ""
    tokens = adapter.completion_tokens * adapter.throughput_qps / (adapter.num_requests or 1)
    return [
        escape(printable(f"{adapter.adapter_id}{version}")),
        f"{adapter.num_requests:,}",
        f"{adapter.throughput_qps:.1f}",
        f"{adapter.error_rate:.1%}",
        _ms(adapter.p50_latency_ms),
        _ms(adapter.p95_latency_ms),
        _ms(adapter.p95_first_token_ms),
        _ms(adapter.p95_queue_ms),
        f"{tokens:,.0f}",
    ]


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
