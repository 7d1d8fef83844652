"""Publishes the schemas that a process writes with, and learns those of the others.

Every record names its writer's schema by fingerprint (Avro single-object encoding); the topic
`schemas` maps fingerprints to texts, so versions mix during a rolling upgrade. Where a schema
registry is configured, records name their schema by its id there instead.
"""

import asyncio
import logging
from time import monotonic
from typing import Final, TypeVar

from aiokafka import AIOKafkaProducer

from schemas.codec import Codec, written_schemas
from schemas.errors import DecodeError, UnknownSchema
from schemas.records import Record
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

#: How long a schema that nobody knew is not asked for again.
_UNKNOWN_SECONDS: Final = 30.0


async def open_codec(settings: KafkaSettings) -> Codec:
    """The codec that `settings` ask for: with a schema registry, or without.

    Raises: ConfigurationError, SchemaRegistryUnavailable.
    """
    if settings.schema_registry is None:
        return Codec()
    from schemas.schema_registry import codec_of_registry

    return await asyncio.to_thread(codec_of_registry, settings.schema_registry, settings.topics)


class WriterSchemas:
    """Keeps a codec's known schemas in step with the topic, and decodes with them."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._published: set[str] = set()
        self._unknown: dict[str, float] = {}
        self._looking_up = asyncio.Lock()
        self._reader = TableReader(settings, [settings.topics.schemas], self._learn)

    async def start(self) -> None:
        """Learns what is there and publishes what is missing. Raises: KafkaError."""
        await self._reader.start()
        missing = {
            fingerprint: text
            for fingerprint, text in written_schemas().items()
            if fingerprint not in self._published
        }
        if not missing:
            return
        async with AIOKafkaProducer(
            enable_idempotence=True, **self._settings.client_kwargs()
        ) as producer:
            for fingerprint, text in missing.items():
                await producer.send_and_wait(
                    self._settings.topics.schemas, text.encode(), key=fingerprint.encode()
                )

    async def stop(self) -> None:
        """Ends following."""
        await self._reader.stop()

    async def decode(self, record_type: type[R], value: bytes) -> R:
        """The record; its schema is looked up where it is not known yet.

        Raises: DecodeError, SchemaRegistryUnavailable.
        """
        try:
            return self._codec.decode(record_type, value)
        except UnknownSchema as error:
            # Its writer published the schema before it wrote: we may only not have read it yet.
            await self._look_up(error)
            return self._codec.decode(record_type, value)

    async def _look_up(self, unknown: UnknownSchema) -> None:
        name = str(unknown)
        # One at a time: whoever meets the schema meanwhile waits for what the first one finds.
        async with self._looking_up:
            if self._unknown.get(name, 0.0) > monotonic():
                return
            if unknown.schema_id is not None:
                await asyncio.to_thread(self._codec.look_up, unknown)
            else:
                await self._reader.catch_up()
            self._unknown[name] = monotonic() + _UNKNOWN_SECONDS

    def _learn(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            return
        try:
            self._codec.learn(value.decode())
        except (DecodeError, UnicodeDecodeError) as error:
            log.warning("%s offset %d is no schema: %s", topic, offset, error)
            return
        self._published.add(key.decode(errors="replace"))
