"""Token deltas of streamed answers: sent as they come, idempotent but not transactional."""

import logging
from datetime import UTC, datetime

from aiokafka.errors import KafkaError

from schemas.codec import Codec
from schemas.records import Chunk, InferenceRequest
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.output import TRACEPARENT, Headers
from streams.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)


class ChunkSender:
    """Sends chunks in the background; readers order them by attempt and sequence."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._topic = settings.topics.chunks
        self._codec = codec
        self._producer = IdempotentProducer(settings, linger_ms=2)

    async def start(self) -> None:
        """Connects. Raises: KafkaError."""
        await self._producer.start()

    async def stop(self) -> None:
        """Sends what is left and disconnects."""
        await self._producer.stop()

    async def send(
        self,
        request: InferenceRequest,
        sequence: int,
        text: str,
        adapter: str | None,
        headers: Headers,
        finish_reason: str | None = None,
    ) -> None:
        """Queues one chunk; waits only while the producer's buffer is full."""
        query_id = request.query.id or str(request.origin)
        chunk = Chunk(
            query_id=query_id,
            origin=request.origin,
            attempt=request.attempt,
            sequence=sequence,
            text=text,
            finish_reason=finish_reason,
            adapter=adapter,
            created_at=datetime.now(UTC),
        )
        try:
            await self._producer.send(
                self._topic,
                self._codec.encode(chunk),
                query_id.encode(),
                [item for item in headers if item[0] == TRACEPARENT],
            )
        except KafkaError as error:
            # A stream may have holes, which its sequence numbers show; the response has none.
            log.warning("chunk %d of %s was not sent: %r", sequence, query_id, error)
