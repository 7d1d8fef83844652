"""Keeps the unreadable records of topics that every process reads whole.

Each process passes over such a record, at each of its starts. So that it becomes one dead letter
all the same, the routers inspect these topics as a consumer group, which gets each record once.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.definitions import read_schema
from schemas.errors import DecodeError, MalformedRecord
from schemas.records import AdapterVersion, Cancel, ExampleSet, Record, Traffic, WorkerState
from streams.kafka.acls import inspection_group
from streams.kafka.consumers import stop
from streams.kafka.dead_letters.letter import dead_letter
from streams.kafka.output import Output
from streams.kafka.writer_schemas import WriterSchemas
from streams.registry.version import parse
from streams.router.settings import RouterSettings
from streams.telemetry.metrics import RouterMetrics

log = logging.getLogger(__name__)

#: Nothing waits for a dead letter: one fetch a while rather than one for each heartbeat.
_FETCH_BYTES, _FETCH_MS = 64 * 1024, 2_000
_MOST_RECORDS: Final = 200
_FRAME_BYTES: Final = 64 * 1024
_AGAIN_SECONDS: Final = 1.0


class Inspection:
    """One router's part in inspecting cancels, workers, schemas and the registry's topics.

    Offsets are committed after the dead letters are written. A router that is killed in between
    has them written again: under the same key, so they are still one.
    """

    def __init__(
        self, settings: RouterSettings, schemas: WriterSchemas, metrics: RouterMetrics
    ) -> None:
        topics = settings.topics
        self._settings = settings
        self._schemas = schemas
        self._metrics = metrics
        self._schemas_topic = topics.schemas
        self._types: dict[str, type[Record]] = {
            topics.cancels: Cancel,
            topics.adapters: AdapterVersion,
            topics.examples: ExampleSet,
            topics.traffic: Traffic,
            topics.workers: WorkerState,
        }

    async def run(self) -> None:
        """Inspects until cancelled; survives a broker that is away."""
        while True:
            try:
                await self._session()
            except KafkaError as error:
                log.warning("inspecting %s: %r; trying again", self._topics, error)
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _session(self) -> None:
        settings = self._settings
        consumer = AIOKafkaConsumer(
            *self._topics,
            group_id=inspection_group(settings.router_group),
            group_instance_id=settings.instance,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(settings.session_timeout * 1000),
            heartbeat_interval_ms=int(settings.session_timeout * 1000 / 5),
            fetch_min_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_MS,
            **settings.client_kwargs(),
        )
        producer = AIOKafkaProducer(
            enable_idempotence=True,
            max_request_size=settings.max_record_bytes + _FRAME_BYTES,
            **settings.client_kwargs(),
        )
        try:
            await consumer.start()
            await producer.start()
            while True:
                fetched = await consumer.getmany(timeout_ms=5_000, max_records=_MOST_RECORDS)
                for records in fetched.values():
                    await self._inspect(records, producer)
                if fetched:
                    await consumer.commit()
        finally:
            await producer.stop()
            await stop(consumer)

    @property
    def _topics(self) -> list[str]:
        return [*self._types, self._schemas_topic]

    async def _inspect(self, records: Sequence[Any], producer: AIOKafkaProducer) -> None:
        for record in records:
            error = await self._error(record)
            if error is None:
                continue
            log.error(
                "%s/%d/%d is a dead letter: %s",
                record.topic,
                record.partition,
                record.offset,
                error,
            )
            self._metrics.count_decode_error(record.topic)
            try:
                await _send(producer, self._letter(record, error))
            except MessageSizeTooLargeError:
                log.error("it is too large to be kept")
                continue
            self._metrics.count_dead_letter(record.topic, error.category)

    async def _error(self, record: Any) -> DecodeError | None:
        """Why nobody can read the record; None where all can."""
        if record.value is None:
            return None
        try:
            if record.topic == self._schemas_topic:
                read_schema(record.value.decode())
                return None
            found = await self._schemas.decode(self._types[record.topic], record.value)
            if isinstance(found, AdapterVersion):
                parse(found.adapter_version)
        except DecodeError as error:
            return error
        except ValueError as error:  # no UTF-8, or no semantic version
            return MalformedRecord(f"The record can't be used: {error}.")
        return None

    def _letter(self, record: Any, error: DecodeError) -> Output:
        return dead_letter(
            self._settings.topics.dead_letters,
            (record.topic, record.partition, record.offset),
            record.key,
            record.value,
            record.headers,
            error,
            "router",
        )


async def _send(producer: AIOKafkaProducer, output: Output) -> None:
    await producer.send_and_wait(
        output.topic, output.value, key=output.key, headers=list(output.headers)
    )
