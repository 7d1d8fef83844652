"""Publishes the schemas that a process writes with, and learns those of the others.

Every record names its writer's schema by fingerprint (Avro single-object encoding); the topic
`schemas` maps fingerprints to texts, so versions mix during a rolling upgrade. Where a schema
registry is configured, records name their schema by its id there instead.
"""

import asyncio
import logging
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.codec import Codec, written_schemas
from schemas.errors import DecodeError, SchemaRegistryUnavailable, UnknownSchema
from schemas.records import Record
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

#: How long a schema that nobody knew is not asked for again.
_UNKNOWN_SECONDS: Final = 30.0

#: How long a record waits for whoever knows its schema and does not answer, and how long after
#: that no other record asks.
_PATIENCE_SECONDS: Final = 30.0
_AWAY_SECONDS: Final = 5.0
_FIRST_DELAY_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 5.0


async def open_codec(settings: KafkaSettings) -> Codec:
    """The codec that `settings` ask for: with a schema registry, or without.

    Raises: ConfigurationError, SchemaRegistryUnavailable.
    """
    if settings.schema_registry is None:
        return Codec()
    from schemas.schema_registry import codec_of_registry

    return await asyncio.to_thread(codec_of_registry, settings.schema_registry, settings.topics)


@dataclass(slots=True)
class _Source:
    """Where schemas are looked up; whether it answered last, and until when it is left alone."""

    trouble: str
    is_away: bool = False
    away_until: float = 0.0


class WriterSchemas:
    """Keeps a codec's known schemas in step with the topic, and decodes with them."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, *, patience_s: float = _PATIENCE_SECONDS
    ) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._topic = _Source("The topic of schemas can't be read now")
        self._registry = _Source("The schema registry does not answer")
        self._codec = codec
        self._published: set[str] = set()
        self._unknown: dict[str, float] = {}
        self._looking_up = asyncio.Lock()
        self._reader = TableReader(settings, [settings.topics.schemas], self._learn)

    async def start(self) -> None:
        """Learns what is there and publishes what is missing. Raises: KafkaError."""
        await self.follow()
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

    async def follow(self) -> None:
        """Learns what is there, for who only reads, and publishes nothing. Raises: KafkaError."""
        await self._reader.start()

    async def stop(self) -> None:
        """Ends following."""
        await self._reader.stop()

    async def decode(self, record_type: type[R], value: bytes) -> R:
        """The record; its schema is looked up where it is not known yet.

        A broker or schema registry that is away is waited for, but not for ever: one record
        whose schema only it knows must not stop all others. Raises: DecodeError.
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
            await self._ask(unknown)
            now = monotonic()
            # Clients may name as many as they like.
            self._unknown = {known: until for known, until in self._unknown.items() if until > now}
            self._unknown[name] = now + _UNKNOWN_SECONDS

    async def _ask(self, unknown: UnknownSchema) -> None:
        """Raises UnknownSchema, which says why, once patience is at its end."""
        source = self._topic if unknown.schema_id is None else self._registry
        gives_up_at = monotonic() if source.is_away else monotonic() + self._patience_s
        delay = _FIRST_DELAY_SECONDS
        while monotonic() >= source.away_until:
            try:
                if unknown.schema_id is None:
                    await self._reader.catch_up()
                else:
                    await asyncio.to_thread(self._codec.look_up, unknown)
            except (KafkaError, SchemaRegistryUnavailable) as error:
                log.warning("%s: %s", source.trouble, error)
            else:
                source.is_away = False
                return
            if monotonic() + delay > gives_up_at:
                source.is_away = True
                source.away_until = monotonic() + _AWAY_SECONDS
                break
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
        raise UnknownSchema(
            unknown.fingerprint, schema_id=unknown.schema_id, why=f"{source.trouble}."
        )

    def _learn(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            return
        try:
            self._codec.learn(value.decode())
        except (DecodeError, UnicodeDecodeError) as error:
            log.warning("%s offset %d is no schema: %s", topic, offset, error)
            return
        self._published.add(key.decode(errors="replace"))
