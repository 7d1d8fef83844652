"""Publishes the schemas that a process writes with, and learns those of the others.

Every record names its writer's schema by fingerprint (Avro single-object encoding); the topic
`schemas` maps fingerprints to texts, so versions mix during a rolling upgrade.
"""

import logging

from aiokafka import AIOKafkaProducer

from schemas.codec import Codec, written_schemas
from schemas.errors import DecodeError
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader

log = logging.getLogger(__name__)


class WriterSchemas:
    """Keeps a codec's known schemas in step with the topic."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._published: set[str] = set()
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

    async def catch_up(self) -> None:
        """Learns all that is published by now."""
        await self._reader.catch_up()

    async def stop(self) -> None:
        """Ends following."""
        await self._reader.stop()

    def _learn(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            return
        try:
            self._codec.learn(value.decode())
        except (DecodeError, UnicodeDecodeError) as error:
            log.warning("%s offset %d is no schema: %s", topic, offset, error)
            return
        self._published.add(key.decode(errors="replace"))
