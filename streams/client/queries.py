"""Sends queries to Kafka and hands each its response."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.errors import DecodeError, InvalidRequest, LorelayError, RecordTooLarge, UnknownSchema
from schemas.json_form import to_json
from schemas.records import Cancel, Chunk, Feedback, Query, Record, Response
from schemas.topics import MAX_QUERY_BYTES
from schemas.validation import validate_query
from streams.client.failures import ConnectionLost, NoAnswer
from streams.client.troubles import no_topic, unreachable
from streams.kafka.access import AccessRefused, refusal
from streams.kafka.consumers import stop
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.output import Headers, event_headers
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import partition_for
from streams.kafka.writer_schemas import WriterSchemas, open_codec
from streams.parts import Assembly

log = logging.getLogger(__name__)

_FETCH_WAIT_MS = 100
_SOURCE = "lorelay-client"
#: Kafka takes a record within milliseconds. aiokafka would try for ever where it does not.
_TAKE_BACK_SECONDS = 5.0

R = TypeVar("R", bound=Record)


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
    #: It is taken back where nobody waits any more.
    is_asked: bool = False
    #: The chunk that says why the answer ends has come.
    is_streamed: asyncio.Event = field(default_factory=asyncio.Event)


class QueryClient(Assembly):
    """Reads responses from its start on, so it is started before the first query is sent.

    With ``query_id`` it reads only the partitions that this query's records go to, else all.
    Queries go out as JSON: every router reads it, whatever its version. Use as a context.
    """

    def __init__(
        self, settings: KafkaSettings, *, query_id: str | None = None, chunks: bool = False
    ) -> None:
        super().__init__()
        self._settings = settings
        self._query_id = query_id
        self._topics = settings.topics
        self._read_topics = [self._topics.responses, *([self._topics.chunks] if chunks else [])]
        self._pending: dict[str, _Pending] = {}
        #: What is being taken back.
        self._leaving: set[asyncio.Task[None]] = set()
        self._schemas: WriterSchemas | None = None
        #: What has ended the reading: no answer comes any more.
        self._lost: LorelayError | None = None

    async def open(self, parts: AsyncExitStack) -> None:
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
        parts.push_async_callback(stop, self._consumer)
        most = self._settings.max_record_bytes
        self._producer = IdempotentProducer(self._settings, max_request_size=most)
        parts.push_async_callback(self._producer.stop)
        parts.push_async_callback(self._stop_schemas)
        try:
            await self._consumer.start()
            await self._producer.start()
            await self._listen()
        except KafkaError as error:
            raise await unreachable(self._settings, error) from error
        parts.push_async_callback(self._end_reading, asyncio.create_task(self._read()))
        parts.push_async_callback(self._leave_all)

    async def _end_reading(self, reading: "asyncio.Task[None]") -> None:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading

    async def send(
        self, query: Query, on_chunk: Callable[[Chunk], None] | None = None
    ) -> "asyncio.Future[Answer]":
        """Sends a query that has an id; what is returned becomes its answer.

        It fails with a DecodeError where the answer can't be read. Raises: InvalidRequest or
        RecordTooLarge before anything is sent, AccessRefused, ConnectionLost.
        """
        query_id, payload = self._checked(query)
        answer = self.expect(query_id, on_chunk)
        try:
            await self._write_query(query_id, query.session, payload)
        except BaseException:
            self.forget(query_id, answer)
            raise
        return answer

    @asynccontextmanager
    async def asking(
        self, query: Query, until: float, on_chunk: Callable[[Chunk], None] | None = None
    ) -> "AsyncIterator[asyncio.Future[Answer]]":
        """Sends a query, as `send` does, until that time of the loop at the latest.

        Where the block ends without its answer, it is taken back. Raises: NoAnswer where it was
        not sent in time; and as `send`.
        """
        query_id, payload = self._checked(query)
        answer = self.expect(query_id, on_chunk)
        self._pending[query_id].is_asked = True
        try:
            await self._write_until(until, query_id, query.session, payload)
            yield answer
        except (AccessRefused, ConnectionLost):
            self.forget(query_id, answer)
            raise
        finally:
            await self._leave(query_id, answer)

    def expect(
        self, query_id: str, on_chunk: Callable[[Chunk], None] | None = None
    ) -> "asyncio.Future[Answer]":
        """What is returned becomes the answer of a query that is sent now, or was before.

        Raises: InvalidRequest where an answer under that id is awaited already, as the two could
        not be told apart; AccessRefused, ConnectionLost where answers can't be read any more.
        """
        if self._lost is not None:
            raise self._lost.with_traceback(None)
        if query_id in self._pending:
            raise InvalidRequest(f"A query {query_id} is under way already: give it another id.")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[query_id] = _Pending(answer, perf_counter(), on_chunk)
        return answer

    def forget(self, query_id: str, answer: "asyncio.Future[Answer]") -> bool:
        """Nobody waits any more for what comes of that query; False if nobody did before."""
        pending = self._pending.get(query_id)
        if pending is None or pending.answer is not answer:
            return False
        del self._pending[query_id]
        return True

    async def cancel(self, cancel: Cancel) -> None:
        """Takes a query back. Raises: InvalidRequest, AccessRefused, ConnectionLost."""
        payload = _encoded(cancel)
        await self._write(self._topics.cancels, payload, cancel.query_id.encode())

    async def _leave(self, query_id: str, answer: "asyncio.Future[Answer]") -> None:
        """Takes a query back whose answer has not come."""
        is_answered = answer.done() and not answer.cancelled()
        if self.forget(query_id, answer) and not is_answered:
            leaving = asyncio.create_task(self._take_back(query_id))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)

    async def _leave_all(self) -> None:
        """What is still asked when the client ends.

        A stream that was left is among it: Python ends its generator later, or much later.
        """
        asked = [(name, found.answer) for name, found in self._pending.items() if found.is_asked]
        await asyncio.gather(*(self._leave(name, answer) for name, answer in asked))
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def _take_back(self, query_id: str) -> None:
        """Cancels the query of somebody who waits no more; if that fails, it is answered yet."""
        reason = "nobody waits for the answer any more"
        try:
            async with asyncio.timeout(_TAKE_BACK_SECONDS):
                await self.cancel(Cancel(query_id, reason, datetime.now(UTC)))
        except TimeoutError:
            log.warning("%s could not be taken back within %g s", query_id, _TAKE_BACK_SECONDS)
        except LorelayError as error:
            log.warning("%s could not be taken back: %s", query_id, error)

    async def feedback(self, feedback: Feedback) -> None:
        """Says what an answer was worth. Raises: InvalidRequest, AccessRefused, ConnectionLost."""
        payload = _encoded(feedback)
        await self._write(self._topics.feedback, payload, feedback.query_id.encode())

    async def last_chunk(self, query_id: str, seconds: float) -> None:
        """Waits so long for the end of a streamed answer, which may come after its response.

        It may not come at all: chunks are no promise.
        """
        if pending := self._pending.get(query_id):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await pending.is_streamed.wait()

    def _checked(self, query: Query) -> tuple[str, bytes]:
        """Its id and its record. Raises: InvalidRequest, RecordTooLarge."""
        validate_query(query, self._topics)
        if query.id is None:
            raise ValueError("a query without an id can't be told from others")
        payload = _encoded(query)
        if len(payload) > MAX_QUERY_BYTES:
            raise RecordTooLarge(len(payload), MAX_QUERY_BYTES)
        return query.id, payload

    async def _write_until(
        self, until: float, query_id: str, session: str | None, payload: bytes
    ) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._write_query(query_id, session, payload)
        except TimeoutError as error:
            raise NoAnswer(
                "Kafka did not confirm the query in time. It may have been sent all the same, and "
                "is taken back as far as that is possible."
            ) from error

    async def _write_query(self, query_id: str, session: str | None, payload: bytes) -> None:
        headers = event_headers("Query", query_id, _SOURCE)
        await self._write(self._topics.queries, payload, (session or query_id).encode(), headers)

    async def _write(self, topic: str, payload: bytes, key: bytes, headers: Headers = ()) -> None:
        try:
            await self._producer.send_and_wait(topic, payload, key, headers)
        except KafkaError as error:
            raise await refusal(self._settings, error) or ConnectionLost(
                f"It could not be written to {topic}: {error!r}"
            ) from error

    async def _listen(self) -> None:
        """Takes the end of the partitions to read as the beginning."""
        # Looked up now, so that a query may be taken back where the cluster stops answering.
        self._producer.look_up(self._topics.cancels)
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
                query_id = (record.key or b"").decode(errors="replace")
                if (pending := self._pending.get(query_id)) is None:
                    continue
                if record.topic == self._topics.responses:
                    await self._on_response(query_id, pending, record.value or b"")
                elif pending.on_chunk is not None:
                    await self._on_chunk(pending, pending.on_chunk, record.value or b"")
        except (KafkaError, LorelayError) as error:
            self._lost = await refusal(self._settings, error) or ConnectionLost(
                f"Responses can't be read any more: {error}"
            )
            for pending in self._pending.values():
                if not pending.answer.done():
                    pending.answer.set_exception(self._lost)

    async def _on_response(self, query_id: str, pending: _Pending, value: bytes) -> None:
        arrived = perf_counter()
        try:
            response: Response | DecodeError = await self._decode(Response, value)
        except DecodeError as error:
            response = error
        if pending.on_chunk is None:
            self._pending.pop(query_id, None)
        # Cancelled: nobody waits for it any more.
        if pending.answer.done():
            return
        if isinstance(response, DecodeError):
            pending.answer.set_exception(response)
        else:
            pending.answer.set_result(Answer(response, (arrived - pending.sent_at) * 1000))

    async def _on_chunk(
        self, pending: _Pending, take: Callable[[Chunk], None], value: bytes
    ) -> None:
        try:
            chunk = await self._decode(Chunk, value)
        except DecodeError as error:
            # Chunks are no promise: the response brings the whole text.
            log.warning("a chunk can't be read: %s", error)
            return
        take(chunk)
        if chunk.finish_reason is not None:
            pending.is_streamed.set()

    async def _decode(self, record_type: type[R], value: bytes) -> R:
        try:
            return self._codec.decode(record_type, value)
        except UnknownSchema:
            schemas = await self._writer_schemas()
            return await schemas.decode(record_type, value)

    async def _writer_schemas(self) -> WriterSchemas:
        """What other versions write with; read once something of them comes."""
        if self._schemas is None:
            schemas = WriterSchemas(self._settings, self._codec)
            try:
                await schemas.follow()
            except BaseException:
                await schemas.stop()
                raise
            self._schemas = schemas
        return self._schemas

    async def _stop_schemas(self) -> None:
        if self._schemas is not None:
            await self._schemas.stop()


def _encoded(record: Record) -> bytes:
    """Raises: InvalidRequest for what a caller has given and no record can hold."""
    try:
        return to_json(record).encode()
    except TypeError as error:
        raise InvalidRequest(f"It can't be written as JSON: {error}.") from error
