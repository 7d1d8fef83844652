"""Finds the answer of an earlier query by its id, whoever took the query."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.errors import DecodeError, InternalError, Overloaded
from schemas.records import Origin, Query, Response
from streams.gateway.failures import KafkaUnavailable
from streams.kafka.consumers import stop
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import partition_for
from streams.kafka.writer_schemas import WriterSchemas

#: Records that are read at once; the newest are read first.
_BLOCK: Final = 2_000
#: Of a block, so many are kept at a time.
_HELD: Final = 16
_AT_ONCE: Final = 2
_WAITING: Final = 32
_SECONDS: Final = 15.0

IsWanted = Callable[[Any], Awaitable[bool]]
"""Told a record, whether it is looked for."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The query is there, its answer is not yet."""


class Archive:
    """Reads topics backwards from their ends, so far as its limits go."""

    def __init__(
        self,
        settings: KafkaSettings,
        schemas: WriterSchemas,
        *,
        lookback_seconds: float,
        lookback_records: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._schemas = schemas
        self._lookback_ms = lookback_seconds * 1000
        self._lookback_records = lookback_records
        self._now = now
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._searches = 0

    async def find(self, query_id: str, tenant: str | None = None) -> Response | Pending | None:
        """The newest response to the id, or whether a query of that id is there.

        With a tenant those of his queries alone: others may use the same id.

        Raises: Overloaded, KafkaUnavailable, InternalError where it can't be read.
        """
        if self._searches >= _WAITING:
            raise Overloaded("Many earlier answers are being looked for; try again.")
        self._searches += 1
        try:
            async with self._places, asyncio.timeout(_SECONDS), AsyncExitStack() as stack:
                consumer = self._make_consumer()
                stack.push_async_callback(stop, consumer)
                await consumer.start()
                return await self._find(consumer, query_id, tenant)
        except TimeoutError as error:
            raise Overloaded("The search for the answer took too long; try again.") from error
        except KafkaError as error:
            raise KafkaUnavailable(
                f"The answer can't be looked up now ({type(error).__name__})."
            ) from error
        finally:
            self._searches -= 1

    async def _find(
        self, consumer: AIOKafkaConsumer, query_id: str, tenant: str | None
    ) -> Response | Pending | None:
        key = query_id.encode()

        async def is_response(record: Any) -> bool:
            return bool(record.key == key)

        async def is_query(record: Any) -> bool:
            # One with a session has that for its key.
            if record.key == key or ("ce_id", key) in record.headers:
                return True
            is_named = any(name == "ce_id" for name, _ in record.headers)
            return not is_named and await self._has_id(record, query_id)

        responses = await self._partitions(consumer, self._topics.responses)
        home = responses[partition_for(key, len(responses))]
        async for found in self._newest_first(consumer, [home], is_response):
            try:
                response = await self._schemas.decode(Response, found.value or b"")
            except DecodeError as error:
                raise InternalError(f"The answer is there, but can't be read: {error}") from error
            asked = await self._at(consumer, response.origin) if tenant is not None else None
            if await self._is_of(tenant, asked):
                return response
        queries = await self._partitions(consumer, self._topics.queries)
        async for asked in self._newest_first(consumer, queries, is_query):
            if await self._is_of(tenant, asked):
                return Pending()
        return None

    async def _has_id(self, asked: Any, query_id: str) -> bool:
        """Whether the record is a query of that id, which its key and headers don't tell."""
        value, place = asked.value or b"", str(Origin(asked.topic, asked.partition, asked.offset))
        if query_id.encode() not in value and query_id != place:
            return False
        try:
            query = await self._schemas.decode(Query, value)
        except DecodeError:
            return False
        return query_id == (query.id or place)

    async def _is_of(self, tenant: str | None, asked: Any) -> bool:
        """Whether the query's record is that of the tenant; no tenant may see all."""
        if tenant is None:
            return True
        if asked is None:
            return False
        try:
            return (await self._schemas.decode(Query, asked.value or b"")).tenant == tenant
        except DecodeError:
            return False

    async def _at(self, consumer: AIOKafkaConsumer, origin: Origin) -> Any:
        """The record at that place; None where it is not there any more."""
        place = TopicPartition(origin.topic, origin.partition)
        offset = origin.offset
        async for found in _newest_first(consumer, place, offset, offset + 1, _is_there):
            return found
        return None

    async def _partitions(self, consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
        await consumer._client.add_topic(topic)
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            raise KafkaError(f"topic {topic} can't be seen")
        return [TopicPartition(topic, number) for number in sorted(numbers)]

    async def _newest_first(
        self,
        consumer: AIOKafkaConsumer,
        partitions: Sequence[TopicPartition],
        is_wanted: IsWanted,
    ) -> AsyncIterator[Any]:
        """Such records of one partition after the other, of each the newest first."""
        since = int(self._now().timestamp() * 1000 - self._lookback_ms)
        firsts = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
        ends = await consumer.end_offsets(partitions)
        most = self._lookback_records // len(partitions)
        for partition in partitions:
            if (first := firsts[partition]) is None:
                continue
            end = ends[partition]
            low = max(first.offset, end - most)
            async for found in _newest_first(consumer, partition, low, end, is_wanted):
                yield found

    def _make_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # All that is read is there already: a fetch that waits for more only holds up the next.
            fetch_max_wait_ms=1,
            **self._settings.client_kwargs(),
        )


async def _newest_first(
    consumer: AIOKafkaConsumer,
    partition: TopicPartition,
    low: int,
    high: int,
    is_wanted: IsWanted,
) -> AsyncIterator[Any]:
    """Such records from `low` up to, and without, `high`, the newest first.

    Between two of them the consumer may be used for another partition.
    """
    while high > low:
        begin = max(low, high - _BLOCK)
        consumer.assign([partition])
        consumer.seek(partition, begin)
        found: deque[Any] = deque(maxlen=_HELD)
        while await consumer.position(partition) < high:
            fetched = await consumer.getmany(partition, timeout_ms=200)
            for record in fetched.get(partition, ()):
                if record.offset < high and await is_wanted(record):
                    found.append(record)
        # Where there may have been more, they are read again.
        high = found[0].offset if len(found) == _HELD else begin
        while found:
            yield found.pop()


async def _is_there(record: Any) -> bool:
    return True
