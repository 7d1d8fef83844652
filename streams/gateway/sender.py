"""Writes queries, cancels and feedback."""

from collections.abc import Sequence
from typing import Final

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas.codec import Codec
from schemas.errors import InvalidRequest, RecordTooLarge
from schemas.records import Cancel, Feedback, Origin, Query, Record
from schemas.topics import MAX_QUERY_BYTES
from schemas.validation import validate_query
from streams.gateway.failures import KafkaUnavailable
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.output import event_headers
from streams.kafka.settings import KafkaSettings

_FRAME_BYTES: Final = 4096

Header = tuple[str, bytes | None]


class Sender:
    """What comes while a batch is under way goes with the next one."""

    def __init__(self, settings: KafkaSettings, codec: Codec, source: str) -> None:
        self._topics = settings.topics
        self._codec = codec
        self._source = source
        most = settings.max_record_bytes + _FRAME_BYTES
        self._producer = IdempotentProducer(settings, max_request_size=most)

    async def start(self) -> None:
        """Connects. Raises: KafkaError."""
        await self._producer.start()

    async def stop(self) -> None:
        """Sends what is left, if that can be soon, and disconnects."""
        await self._producer.stop()

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
        return await self._producer.reaches_kafka()

    def _encoded(self, record: Record) -> bytes:
        try:
            return self._codec.encode(record)
        except UnicodeEncodeError as error:
            raise InvalidRequest("A text holds half a character (a lone surrogate).") from error

    async def _write(
        self, topic: str, value: bytes, key: bytes, headers: Sequence[Header]
    ) -> Origin | None:
        written = await self._producer.send_and_wait(topic, value, key, headers)
        if written.offset < 0:
            return None
        return Origin(written.topic, written.partition, written.offset)
