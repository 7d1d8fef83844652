"""The metrics topic's side: every record, from given offsets on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.errors import DecodeError, MalformedRecord
from schemas.records import AdapterMetrics
from streams.kafka.consumers import stop
from streams.kafka.settings import METADATA_MAX_AGE_MS, KafkaSettings
from streams.kafka.writer_schemas import WriterSchemas, open_codec
from streams.sink.store import Batch, Topic
from streams.telemetry.tally import merge

_ASKING_SECONDS: Final = 15.0
_POLL_MS: Final = 500
#: Records in one transaction of the database, at most.
_BATCH: Final = 1000


class TopicMissing(KafkaError):  # type: ignore[misc]
    """The cluster shows no such topic."""


class MetricsLog:
    """The partitions of the topic, as they are when it is opened."""

    def __init__(
        self,
        topic: Topic,
        consumer: AIOKafkaConsumer,
        partitions: Mapping[int, TopicPartition],
        schemas: WriterSchemas,
    ) -> None:
        self.topic = topic
        self._consumer = consumer
        self._partitions = partitions
        self._schemas = schemas
        #: Records that could not be read, and why.
        self.unreadable: list[str] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KafkaSettings) -> AsyncIterator[Self]:
        """Connects. Raises: KafkaError, of which TopicMissing is one."""
        name = settings.topics.metrics
        schemas = WriterSchemas(settings, await open_codec(settings))
        consumer = AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            max_poll_records=_BATCH,
            **settings.client_kwargs(),
        )
        try:
            await consumer.start()
            await consumer._client.add_topic(name)
            numbers = sorted(consumer.partitions_for_topic(name) or ())
            if not numbers:
                raise TopicMissing(name)
            await schemas.follow()
            partitions = {number: TopicPartition(name, number) for number in numbers}
            consumer.assign(list(partitions.values()))
            topic_id = await asyncio.to_thread(_topic_id, settings, name)
            yield cls(Topic(name, topic_id), consumer, partitions, schemas)
        finally:
            await schemas.stop()
            await stop(consumer)

    @property
    def has_grown(self) -> bool:
        """Whether the topic has partitions by now that are not read here."""
        numbers = self._consumer.partitions_for_topic(self.topic.name) or set()
        return not numbers <= set(self._partitions)

    async def starts(self) -> dict[int, int]:
        """The first offset that is still there, by partition."""
        return _by_number(await self._consumer.beginning_offsets(list(self._partitions.values())))

    async def ends(self) -> dict[int, int]:
        """The offset after the last record, by partition."""
        return _by_number(await self._consumer.end_offsets(list(self._partitions.values())))

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Reads on from there."""
        for number, offset in offsets.items():
            self._consumer.seek(self._partitions[number], offset)

    async def position(self, number: int) -> int:
        """The offset that is read next."""
        return int(await self._consumer.position(self._partitions[number]))

    async def read(self) -> dict[int, Batch]:
        """What has come, after half a second at most, by partition.

        Raises: OffsetOutOfRangeError where the records were deleted before they were read.
        """
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
        batches = {}
        for partition, records in fetched.items():
            decoded = [(record.offset, await self._decode(record)) for record in records]
            batches[partition.partition] = Batch(
                records[0].offset,
                records[-1].offset + 1,
                [(offset, record) for offset, record in decoded if record is not None],
            )
        return batches

    async def _decode(self, record: ConsumerRecord[Any, Any]) -> AdapterMetrics | None:
        try:
            metrics = await self._schemas.decode(AdapterMetrics, record.value or b"")
            _check(metrics)
        except DecodeError as error:
            self.unreadable.append(f"{record.topic}/{record.partition}/{record.offset}: {error}")
            return None
        return metrics


def _check(record: AdapterMetrics) -> None:
    """Raises MalformedRecord for what can't be added to others, or no column takes."""
    try:
        merge([record])
    except ValueError as error:
        raise MalformedRecord(f"Its sketch can't be read: {error}") from error
    if "\0" in record.adapter_id + record.adapter_version:
        raise MalformedRecord("Its adapter's name holds a NUL character.")


def _topic_id(settings: KafkaSettings, name: str) -> str:
    """The topic's id (KIP-516), which no other topic ever has; aiokafka doesn't tell it."""
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(settings.librdkafka_config() | {"log_level": 0})
    try:
        described = admin.describe_topics(TopicCollection([name]), request_timeout=_ASKING_SECONDS)[
            name
        ].result()
    except KafkaException as error:
        raise KafkaError(error.args[0].str()) from error
    return str(described.topic_id)


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in offsets.items()}
