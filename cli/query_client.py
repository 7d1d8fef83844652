"""Sends queries to Kafka and hands each its response."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from schemas.errors import ConfigurationError, LorelayError, RecordTooLarge, UnknownSchema
from schemas.json_form import to_json
from schemas.records import Chunk, Query, Record, Response
from schemas.topics import MAX_QUERY_BYTES
from schemas.validation import validate_query
from streams.kafka.access import AccessRefused, refusal
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader
from streams.kafka.transactions import partition_for
from streams.kafka.writer_schemas import open_codec

_FETCH_WAIT_MS = 100

R = TypeVar("R", bound=Record)


class ConnectionLost(LorelayError):
    """The cluster stopped answering while responses were awaited."""

    code = "connection_lost"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and the milliseconds from sending its query to reading it."""

    response: Response
    elapsed_ms: float


@dataclass(slots=True)
class _Pending:
    answer: "asyncio.Future[Answer]"
    sent_at: float
    on_chunk: Callable[[Chunk], None] | None = None
    #: The chunk that says why the answer ends has come.
    is_streamed: asyncio.Event = field(default_factory=asyncio.Event)


class QueryClient:
    """Reads responses from its start on, so it is started before the first query is sent.

    With ``query_id`` it reads only the partitions that this query's records go to, else all.
    Queries go out as JSON: every router reads it, whatever its version. Use as a context.
    """

    def __init__(
        self, settings: KafkaSettings, *, query_id: str | None = None, chunks: bool = False
    ) -> None:
        self._settings = settings
        self._query_id = query_id
        self._topics = settings.topics
        self._read_topics = [self._topics.responses, *([self._topics.chunks] if chunks else [])]
        self._pending: dict[str, _Pending] = {}
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connects. Raises: AccessRefused, ConfigurationError where the cluster or its topics
        are not there."""
        self._codec = await open_codec(self._settings)
        # Made here: aiokafka's clients belong to the loop that runs when they are made.
        self._consumer = AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            **self._settings.client_kwargs(),
        )
        self._producer = AIOKafkaProducer(
            enable_idempotence=True,
            max_request_size=self._settings.max_record_bytes,
            **self._settings.client_kwargs(),
        )
        try:
            await asyncio.gather(self._consumer.start(), self._producer.start())
            await self._listen()
        except (KafkaError, LorelayError) as error:
            await self._disconnect()
            if isinstance(error, LorelayError):
                raise
            raise await unreachable(self._settings, error) from error
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await self._disconnect()

    async def send(
        self, query: Query, on_chunk: Callable[[Chunk], None] | None = None
    ) -> "asyncio.Future[Answer]":
        """Sends a query that has an id; what is returned becomes its answer.

        Raises: InvalidRequest or RecordTooLarge before anything is sent, AccessRefused,
        ConnectionLost.
        """
        validate_query(query, self._topics)
        if query.id is None:
            raise ValueError("a query without an id can't be told from others")
        payload = to_json(query).encode()
        if len(payload) > MAX_QUERY_BYTES:
            raise RecordTooLarge(len(payload), MAX_QUERY_BYTES)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[query.id] = _Pending(answer, perf_counter(), on_chunk)
        key = (query.session or query.id).encode()
        try:
            await self._producer.send_and_wait(self._topics.queries, payload, key=key)
        except KafkaError as error:
            del self._pending[query.id]
            raise await refusal(self._settings, error) or ConnectionLost(
                f"The query could not be sent: {error!r}"
            ) from error
        return answer

    async def last_chunk(self, query_id: str, seconds: float) -> None:
        """Waits so long for the end of a streamed answer, which may come after its response.

        It may not come at all: chunks are no promise.
        """
        if pending := self._pending.get(query_id):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pending.is_streamed.wait(), seconds)

    async def _listen(self) -> None:
        """Takes the end of the partitions to read as the beginning."""
        existing = await self._consumer.topics()
        for topic in (self._topics.queries, *self._read_topics):
            if topic not in existing:
                raise no_topic(self._settings, topic)
        found = []
        for topic in self._read_topics:
            numbers = await self._producer.partitions_for(topic)
            if self._query_id is not None:
                numbers = {partition_for(self._query_id.encode(), len(numbers))}
            found += [TopicPartition(topic, number) for number in numbers]
        self._consumer.assign(found)
        await self._consumer.seek_to_end(*found)
        for partition in found:
            await self._consumer.position(partition)

    async def _read(self) -> None:
        try:
            async for record in self._consumer:
                pending = self._pending.get((record.key or b"").decode(errors="replace"))
                if pending is None:
                    continue
                if record.topic == self._topics.responses:
                    await self._on_response(record.value)
                elif pending.on_chunk is not None:
                    chunk = await self._decode(Chunk, record.value)
                    pending.on_chunk(chunk)
                    if chunk.finish_reason is not None:
                        pending.is_streamed.set()
        except (KafkaError, LorelayError) as error:
            lost = await refusal(self._settings, error) or ConnectionLost(
                f"Responses can't be read any more: {error}"
            )
            for pending in self._pending.values():
                if not pending.answer.done():
                    pending.answer.set_exception(lost)

    async def _on_response(self, value: bytes) -> None:
        arrived = perf_counter()
        response = await self._decode(Response, value)
        pending = self._pending.get(response.query_id)
        if pending is not None and pending.on_chunk is None:
            del self._pending[response.query_id]
        # Cancelled: nobody waits for it any more.
        if pending is not None and not pending.answer.done():
            pending.answer.set_result(Answer(response, (arrived - pending.sent_at) * 1000))

    async def _decode(self, record_type: type[R], value: bytes) -> R:
        try:
            return self._codec.decode(record_type, value)
        except UnknownSchema:
            await self._learn_schemas()
            return self._codec.decode(record_type, value)

    async def _learn_schemas(self) -> None:
        """Reads what other versions publish that they write with."""

        def learn(topic: str, key: bytes, value: bytes | None, offset: int) -> None:
            if value is not None:
                with contextlib.suppress(LorelayError):
                    self._codec.learn(value.decode(errors="replace"))

        reader = TableReader(self._settings, [self._topics.schemas], learn)
        try:
            await reader.start()
        finally:
            await reader.stop()

    async def _disconnect(self) -> None:
        await asyncio.gather(self._consumer.stop(), self._producer.stop())


def quieten_clients() -> None:
    """What aiokafka has to say is told in a sentence; so are the futures that it leaves unread."""
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def no_topic(settings: KafkaSettings, topic: str) -> LorelayError:
    """What to tell a person whose cluster shows no such topic."""
    if settings.kafka_security == "PLAINTEXT":
        return ConfigurationError(
            f"The cluster at {settings.kafka} has no topic {topic}: "
            "`lorelay up` or `lorelay topics` creates it."
        )
    return AccessRefused(
        f"There is no topic {topic} at {settings.kafka} that {settings.principal} may see: "
        "`lorelay topics` creates what is missing, `lorelay topics acls` lists the rights of "
        "each role."
    )


async def unreachable(settings: KafkaSettings, error: KafkaError) -> LorelayError:
    """What to tell a person whose cluster does not answer, or does not let them in."""
    if (refused := await refusal(settings, error)) is not None:
        return refused
    if isinstance(error, KafkaConnectionError):
        problem = f"No Kafka broker answers at {settings.kafka}"
    else:
        problem = f"The Kafka cluster at {settings.kafka} can't be used ({error!r})"
    return ConfigurationError(
        f"{problem}: start the local stack with `lorelay up`, "
        "or set LORELAY_KAFKA=host:port to use a cluster of yours."
    )
