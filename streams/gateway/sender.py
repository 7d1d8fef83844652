"""Writes queries, cancels and feedback."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.codec import Codec
from schemas.errors import InvalidRequest, RecordTooLarge
from schemas.records import Cancel, Feedback, Origin, Query, Record
from schemas.topics import MAX_QUERY_BYTES
from schemas.validation import validate_query
from streams.gateway.failures import KafkaUnavailable
from streams.kafka.output import event_headers
from streams.kafka.settings import KafkaSettings

_FRAME_BYTES: Final = 4096
_STOP_SECONDS: Final = 5.0

log = logging.getLogger(__name__)

Header = tuple[str, bytes | None]


class Sender:
    """An idempotent producer: what comes while a batch is under way goes with the next one."""

    def __init__(self, settings: KafkaSettings, codec: Codec, source: str) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._codec = codec
        self._source = source
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()
        self._endings: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connects. Raises: KafkaError."""
        self._producer = await self._connected()

    async def stop(self) -> None:
        """Sends what is left, if that can be soon, and disconnects."""
        if self._producer is not None:
            await _ended(self._producer)
        await asyncio.gather(*self._endings)

    async def query(self, query: Query, received: Sequence[Header] = ()) -> Origin | None:
        """Writes a query that has an id; its origin, None where the broker no longer knows it.

        `received` are headers to hand on.

        Raises: InvalidRequest or RecordTooLarge before anything is sent, KafkaUnavailable.
        """
        validate_query(query, self._topics)
        assert query.id is not None, "the gateway gives every query an id"
        value = self._encoded(query)
        headers = event_headers("Query", query.id, self._source, received)
        key = (query.session or query.id).encode()
        try:
            return await self._write(self._topics.queries, value, key, headers)
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(len(value), len(value) - 1) from error
        except KafkaError as error:
            raise KafkaUnavailable(
                f"The query could not be written to Kafka ({type(error).__name__})."
            ) from error

    async def cancel(self, cancel: Cancel) -> None:
        """Takes a query back. Raises: KafkaError."""
        value = self._codec.encode(cancel)
        headers = event_headers("Cancel", cancel.query_id, self._source)
        await self._write(self._topics.cancels, value, cancel.query_id.encode(), headers)

    async def feedback(self, feedback: Feedback) -> None:
        """Writes what somebody thought of an answer. Raises: KafkaUnavailable, RecordTooLarge."""
        value = self._encoded(feedback)
        query_id = feedback.query_id
        headers = event_headers("Feedback", query_id, self._source)
        try:
            await self._write(self._topics.feedback, value, query_id.encode(), headers)
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(len(value), MAX_QUERY_BYTES) from error
        except KafkaError as error:
            raise KafkaUnavailable(
                f"The feedback could not be written to Kafka ({type(error).__name__})."
            ) from error

    async def reaches_kafka(self) -> bool:
        """Whether a broker answers."""
        assert self._producer is not None, "start() comes first"
        return bool(await self._producer.client.force_metadata_update())

    def _encoded(self, record: Record) -> bytes:
        try:
            return self._codec.encode(record)
        except UnicodeEncodeError as error:
            raise InvalidRequest("A text holds half a character (a lone surrogate).") from error

    async def _write(
        self, topic: str, value: bytes, key: bytes, headers: Sequence[Header]
    ) -> Origin | None:
        assert self._producer is not None, "start() comes first"
        producer = self._producer
        try:
            written = await producer.send_and_wait(topic, value, key, headers=list(headers))
        except KafkaError:
            await self._renew(producer)
            raise
        if written.offset < 0:
            return None
        return Origin(written.topic, written.partition, written.offset)

    async def _renew(self, failed: AIOKafkaProducer) -> None:
        """Takes another producer: a batch that was refused leaves the numbers of the failed one
        out of step with the broker's, and it would try what comes next for ever."""
        async with self._renewing:
            if self._producer is failed:
                with contextlib.suppress(KafkaError):
                    self._producer = await self._connected()
                    self._endings.append(asyncio.create_task(_ended(failed)))
                    self._endings = [ending for ending in self._endings if not ending.done()]

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            enable_idempotence=True,
            max_request_size=self._settings.max_record_bytes + _FRAME_BYTES,
            **self._settings.client_kwargs(),
        )
        try:
            await producer.start()
        except KafkaError:
            await producer.stop()
            raise
        return producer


async def _ended(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError) as error:
        log.warning("queries or cancels may not have been sent: %r", error)
