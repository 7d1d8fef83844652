"""Between HTTP and the topics: sends queries and hands each what comes for it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaError

from schemas.codec import Codec
from schemas.errors import Cancelled, DecodeError, InternalError, Overloaded, UnknownSchema
from schemas.records import Cancel, Chunk, Query, Record, Response
from schemas.topics import Topics
from streams.gateway.asked import Asked
from streams.gateway.chunks import Chunks
from streams.gateway.failures import DuplicateId, KafkaUnavailable, Stopping, Unanswered
from streams.gateway.sender import Header, Sender
from streams.kafka.cancels import Cancellations
from streams.kafka.writer_schemas import WriterSchemas
from streams.telemetry.gateway import GatewayMetrics
from streams.telemetry.tracing import UNTOLD, Trace

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

#: Whoever holds the query answers it at its deadline; that answer is waited for so long.
_GRACE_SECONDS: Final = 5.0
_LAST_CANCELS_SECONDS: Final = 5.0


class Exchange:
    """The queries of this gateway that are under way, by their ids."""

    def __init__(
        self,
        *,
        topics: Topics,
        sender: Sender,
        chunks: Chunks,
        codec: Codec,
        schemas: WriterSchemas,
        cancellations: Cancellations,
        metrics: GatewayMetrics,
        most: int,
        most_chars: int,
        waits_for: Callable[[], str | None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._topics = topics
        self._sender = sender
        self._chunks = chunks
        self._codec = codec
        self._schemas = schemas
        self._cancellations = cancellations
        self.metrics = metrics
        self._most = most
        self._most_chars = most_chars
        self._waits_for = waits_for
        self._now = now
        self._under_way: dict[bytes, Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def __len__(self) -> int:
        return len(self._under_way)

    def is_under_way(self, query_id: str, tenant: str | None = None) -> bool:
        """Whether a query of that id, and of that tenant if one is given, is waited for here."""
        asked = self._under_way.get(query_id.encode())
        return asked is not None and tenant in (None, asked.query.tenant)

    @contextmanager
    def ask(self, query: Query) -> Iterator[Asked]:
        """Within the block a query that has an id can be sent, and its answer waited for.

        Leaving the block before the response is there, by Cancelled or by cancellation, takes the
        query back. Raises: DuplicateId, Overloaded.
        """
        asked = self._admit(query)
        key = asked.query_id.encode()
        self._under_way[key] = asked
        self._is_idle.clear()
        expiry = self._call_at_expiry(asked)
        try:
            with self._chunks.held() if query.stream else nullcontext():
                yield asked
        except (Cancelled, asyncio.CancelledError) as error:
            if asked.response is None:
                reason = str(error) if isinstance(error, Cancelled) else "the request was dropped"
                self._start(self._cancel(asked, reason))
            raise
        finally:
            expiry.cancel()
            del self._under_way[key]
            if not self._under_way:
                self._is_idle.set()

    async def send(
        self, asked: Asked, headers: Sequence[Header] = (), trace: Trace = UNTOLD
    ) -> None:
        """Sends the query, once its chunks would be read. Raises what Sender.query does."""
        if asked.query.stream:
            await self._chunks.follow()
        with trace.sending(self._topics.queries, headers) as handed_on:
            asked.sent(await self._sender.query(asked.query, handed_on))

    def on_reply(self, key: bytes, value: bytes) -> None:
        """A record of the replies topic."""
        asked = self._under_way.get(key)
        if asked is None:
            self.metrics.count_foreign_reply()
        else:
            self._decode(Response, value, asked, asked.take_response)

    def on_chunk(self, key: bytes, value: bytes) -> None:
        """A record of the chunks topic."""
        if asked := self._under_way.get(key):
            self._decode(Chunk, value, asked, asked.take_chunk)

    async def drain(self, seconds: float) -> None:
        """Takes no more queries, and waits for those under way; after that they end here.

        They are not taken back: their answers come to the responses topic.
        """
        self._is_closing = True
        try:
            async with asyncio.timeout(seconds):
                await self._is_idle.wait()
        except TimeoutError:
            for asked in tuple(self._under_way.values()):
                fate = "goes on" if asked.is_sent else "may not have been sent"
                asked.end(
                    Stopping(
                        f"The gateway stops. The query {fate}: another gateway has its answer, if "
                        f"there is one, at /v1/responses/{asked.query_id}."
                    )
                )

    async def close(self) -> None:
        """Returns when what was taken back has been told, if that can be soon."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_CANCELS_SECONDS)

    def _admit(self, query: Query) -> Asked:
        asked = Asked(query, self._most_chars)
        if self._is_closing:
            raise Stopping("The gateway stops; ask another one.")
        if (reason := self._waits_for()) is not None:
            raise KafkaUnavailable(f"No query can be sent now: {reason}.")
        if self.is_under_way(asked.query_id):
            raise DuplicateId(
                f"A query of the id {asked.query_id} is under way: /v1/responses/{asked.query_id} "
                "has its answer when it is there."
            )
        if len(self._under_way) >= self._most:
            raise Overloaded(f"{self._most:,} queries are under way here, as many as are allowed.")
        try:
            self._cancellations.check(query)
        except Cancelled as error:
            raise DuplicateId(
                f"A query of the id {asked.query_id} was cancelled within the last hour: choose "
                "another id."
            ) from error
        return asked

    def _call_at_expiry(self, asked: Asked) -> asyncio.TimerHandle:
        assert asked.query.timeout_ms is not None, "the gateway gives every query its time"
        seconds = asked.query.timeout_ms / 1000 + _GRACE_SECONDS
        error = Unanswered(
            f"No answer came within {asked.query.timeout_ms / 1000:g} s. If one comes yet, it "
            f"will be at /v1/responses/{asked.query_id}."
        )
        return asyncio.get_running_loop().call_later(seconds, asked.end, error)

    def _decode(
        self, record_type: type[R], value: bytes, asked: Asked, take: Callable[[R], None]
    ) -> None:
        try:
            take(self._codec.decode(record_type, value))
        except UnknownSchema:
            self._start(self._decode_later(record_type, value, asked, take))
        except DecodeError as error:
            self._unreadable(record_type, asked, error)

    async def _decode_later(
        self, record_type: type[R], value: bytes, asked: Asked, take: Callable[[R], None]
    ) -> None:
        """A record of a version whose schema is to be looked up first."""
        try:
            take(await self._schemas.decode(record_type, value))
        except DecodeError as error:
            self._unreadable(record_type, asked, error)

    def _unreadable(self, record_type: type[R], asked: Asked, error: DecodeError) -> None:
        log.error("a %s of %s can't be read: %s", record_type.__name__, asked.query_id, error)
        is_reply = record_type is Response
        topic = self._topics.replies if is_reply else self._topics.chunks
        self.metrics.count_decode_error(topic)
        if is_reply:
            asked.end(InternalError("The answer can't be read by this gateway's version."))

    async def _cancel(self, asked: Asked, reason: str) -> None:
        self.metrics.count_cancel()
        try:
            await self._sender.cancel(
                Cancel(asked.query_id, reason, self._now(), asked.query.tenant)
            )
        except KafkaError as error:
            log.warning("%s could not be taken back: %r", asked.query_id, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
