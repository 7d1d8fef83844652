"""The metrics agent: counts responses into windows and writes those to the metrics topic.

A member of a group of its own on the responses topic. A window's responses are finished
together with its record, in one transaction: each is counted once, whatever is killed.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord, TopicPartition

from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import AdapterMetrics, Response
from streams.kafka.answers import from_timestamp
from streams.kafka.consumer import ConsumerOptions, ExactlyOnceConsumer
from streams.kafka.dead_letters.letter import dead_letter
from streams.kafka.output import Output
from streams.kafka.writer_schemas import WriterSchemas
from streams.router.settings import RouterSettings
from streams.router.windows import ClosedWindow, MetricWindows
from streams.telemetry.metrics import RouterMetrics

log = logging.getLogger(__name__)

Record: TypeAlias = ConsumerRecord[Any, Any]

_TICK_SECONDS = 0.5
#: Windows take seconds: responses are fetched by the second, not one by one.
_FETCH_BYTES, _FETCH_SECONDS = 64 * 1024, 1.0
#: Responses in open windows, at most; beyond it reading waits for windows to close.
_MAX_OPEN = 100_000


class MetricsAgent:
    """Writes AdapterMetrics records; the handler of its own consumer."""

    def __init__(
        self,
        settings: RouterSettings,
        codec: Codec,
        schemas: WriterSchemas,
        metrics: RouterMetrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._codec = codec
        self._schemas = schemas
        self._metrics = metrics
        self._now = now
        self._topic = settings.topics.metrics
        self._dead_letters = settings.topics.dead_letters
        #: Responses that are not understood yet, and the tasks that try to.
        self._unread: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._responses = settings.topics.responses
        self._windows = MetricWindows(settings.metrics_window)
        self._consumer = ExactlyOnceConsumer(
            settings,
            f"{settings.router_group}-metrics",
            settings.topics.responses,
            self,
            ConsumerOptions(
                max_in_flight=_MAX_OPEN,
                fetch_min_bytes=_FETCH_BYTES,
                fetch_max_wait=_FETCH_SECONDS,
                session_timeout=settings.session_timeout,
                instance_id=settings.instance,
                writes_to=(self._topic, self._dead_letters),
                goes_on=False,
            ),
        )

    async def run(self) -> None:
        """Counts and writes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            # What fails in one of them ends them all: no response is left uncounted in silence.
            self._tasks = tasks
            tasks.create_task(self._consumer.run())
            tasks.create_task(self._close_windows())

    def on_record(self, record: Record) -> None:
        """Counts a response into its window, or sets out to find its schema."""
        try:
            response = self._codec.decode(Response, record.value or b"")
        except DecodeError:
            place = record.partition, record.offset
            self._unread[place] = self._tasks.create_task(self._read(record, place))
            return
        self._count(record, response)

    def on_lost(self, partition: TopicPartition, offsets: Collection[int]) -> None:
        """Forgets what is counted again from the committed offset, here or elsewhere."""
        self._windows.drop(partition.partition)
        for offset in offsets:
            if task := self._unread.pop((partition.partition, offset), None):
                task.cancel()

    async def _read(self, record: Record, place: tuple[int, int]) -> None:
        try:
            response = await self._schemas.decode(Response, record.value or b"")
        except DecodeError as error:
            self._keep(record, error)
        else:
            self._count(record, response)
        self._unread.pop(place, None)

    def _count(self, record: Record, response: Response) -> None:
        written_at = from_timestamp(record.timestamp)
        self._windows.add(record.partition, record.offset, response, written_at)

    def _keep(self, record: Record, error: DecodeError) -> None:
        """What can't be counted is a dead letter, in the transaction that finishes it."""
        place = TopicPartition(record.topic, record.partition), record.offset
        log.error("%s@%d is a dead letter: %s", record.topic, record.offset, error)
        self._metrics.count_decode_error(record.topic)
        letter = dead_letter(
            self._dead_letters,
            (record.topic, record.partition, record.offset),
            record.key,
            record.value,
            record.headers,
            error,
            "router",
        )
        self._consumer.finish_with_what_fits(*place, [letter])
        self._metrics.count_dead_letter(record.topic, error.category)

    async def _close_windows(self) -> None:
        late = 0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            closed = self._windows.close(self._now())
            for window in closed:
                self._write(window)
            if closed:
                records = sum(1 + len(window.others) for window in closed)
                self._metrics.count_windows(records, self._windows.late - late)
                late = self._windows.late

    def _write(self, window: ClosedWindow) -> None:
        record = window.record
        outputs = [self._output(counted) for counted in (record, *window.others)]
        partition = TopicPartition(self._responses, record.source_partition)
        *others, last = window.offsets
        for offset in others:
            self._consumer.finish(partition, offset)
        self._consumer.finish(partition, last, outputs)

    def _output(self, record: AdapterMetrics) -> Output:
        key = f"{record.adapter_id}@{record.adapter_version}".encode()
        return Output(self._topic, self._codec.encode(record), key)
