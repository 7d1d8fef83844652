"""Follows whole topics from their start: the compacted ones that are our stores."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from streams.kafka.consumers import stop
from streams.kafka.log_ranges import LogRanges
from streams.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

#: Called with topic, key, value (None: a tombstone) and offset of each record, in order.
OnRecord = Callable[[str, bytes, bytes | None, int], None]


class TableReader:
    """Reads every partition of `topics` from the start and goes on following them.

    Without a consumer group: each reader sees everything, or what was written from `since` on, or
    after its own start where it reads `from_end`. `on_read` is called after all the records that
    have arrived together; where that takes time, it is waited for and no more is read meanwhile.
    Neither may raise.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        on_record: OnRecord,
        *,
        on_read: Callable[[], Awaitable[None] | None] | None = None,
        from_end: bool = False,
        since: datetime | None = None,
    ) -> None:
        self._settings = settings
        self._topics = list(topics)
        self._on_record = on_record
        self._on_read = on_read
        self._from_end = from_end
        self._since = since
        self._consumer: AIOKafkaConsumer | None = None
        self._ranges: LogRanges | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when everything that was there at the start has been read.

        Raises: KafkaError where the cluster or a topic can't be read.
        """
        self._ranges = ranges = LogRanges(self._settings)
        await ranges.start()
        consumer = AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=1000,
            **self._settings.client_kwargs(),
        )
        self._consumer = consumer
        await consumer.start()
        partitions = await self._find(consumer)
        ends = await ranges.ends(partitions)
        begins: Mapping[TopicPartition, int] = {}
        if self._from_end:
            begins = ends
        elif self._since is not None:
            begins = await ranges.since(self._since, partitions)
        consumer.assign(partitions)
        for partition, begin in begins.items():
            consumer.seek(partition, begin)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                await self._read(consumer, timeout_ms=200)
        self._task = asyncio.create_task(self._follow(consumer), name=f"table {self._topics}")

    async def catch_up(self) -> None:
        """Returns when everything that is there now has been read."""
        assert self._consumer is not None and self._ranges is not None, "start() comes first"
        partitions = list(self._consumer.assignment())
        ends = await self._ranges.ends(partitions)
        for partition in partitions:
            # The position is moved by the task that follows, and nothing else tells of it.
            while await self._consumer.position(partition) < ends[partition]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Ends following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._consumer is not None:
            await stop(self._consumer)
        if self._ranges is not None:
            await self._ranges.stop()

    async def _find(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        found = []
        for topic in self._topics:
            await consumer._client.add_topic(topic)
            numbers = consumer.partitions_for_topic(topic)
            if topic in consumer._client.cluster.unauthorized_topics:
                raise TopicAuthorizationFailedError(topic)
            if not numbers:
                raise KafkaError(f"topic {topic} does not exist")
            found += [TopicPartition(topic, number) for number in sorted(numbers)]
        return found

    async def _read(self, consumer: AIOKafkaConsumer, timeout_ms: int) -> None:
        arrived = await consumer.getmany(timeout_ms=timeout_ms)
        for records in arrived.values():
            for record in records:
                self._on_record(record.topic, record.key or b"", record.value, record.offset)
        if arrived and self._on_read is not None and (taken := self._on_read()) is not None:
            await taken

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                await self._read(consumer, timeout_ms=5000)
            except Exception as error:  # whatever it is: nobody would notice that it ended
                log.warning("reading %s: %r; trying again", self._topics, error)
                await asyncio.sleep(1)
