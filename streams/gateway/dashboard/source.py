"""Reads for the page what comes to the topics, from a little before now on, without a group."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.codec import Codec
from schemas.errors import DecodeError, UnknownSchema
from schemas.records import Origin, Query, Response
from streams.gateway.dashboard.flow import SECONDS
from streams.gateway.dashboard.lag import Backlog
from streams.gateway.dashboard.model import Model
from streams.gateway.dashboard.positions import Position, position
from streams.kafka.access import forbidden
from streams.kafka.answers import from_timestamp
from streams.kafka.consumers import stop
from streams.kafka.dead_letters.letter import read_dead_letter
from streams.kafka.settings import KafkaSettings
from streams.kafka.window import Committed

log = logging.getLogger(__name__)

#: What comes within so long is fetched at once.
_FETCH_MS: Final = 500
_FETCH_BYTES: Final = 64 * 1024
_PARTITION_BYTES: Final = 256 * 1024
#: Further behind than that, the page shows what is now and only counts what it leaves out.
_MOST_BEHIND: Final = 5_000
#: Offsets of a partition that are looked into of what was there before.
_MOST_OLD: Final = 300
_LAG_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 2.0


class Source:
    """Feeds a model, and says in words what keeps it from that, if something does."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, model: Model, groups: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._model = model
        self._groups = groups
        topics = settings.topics
        self._takes: dict[str, Callable[[Any], object]] = {
            topics.queries: self._on_query,
            topics.requests: self._count,
            topics.responses: self._on_response,
            topics.dead_letters: self._on_letter,
        }
        self._positions: dict[TopicPartition, Position] = {}
        #: Of which nothing was read yet, though there is more than is read at all.
        self._late: set[TopicPartition] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.troubles: dict[str, str] = {}
        #: What was there at the beginning is read, or can't be.
        self.has_begun = asyncio.Event()

    async def start(self) -> None:
        """Begins; what Kafka refuses is tried again."""
        self._tasks = [
            asyncio.create_task(self._again("records", self._read)),
            asyncio.create_task(self._again("lag", self._ask_lag)),
        ]

    async def stop(self) -> None:
        """Ends, and disconnects."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def check(self) -> None:
        """Raises what has ended the reading, if something has."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _again(self, what: str, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except KafkaError as error:
                await self._trouble(what, error)

    async def _trouble(self, what: str, error: KafkaError) -> None:
        """Says it, and lets some time pass."""
        said = forbidden(self._settings, error) or f"Kafka can't be read ({error!r})"
        if self.troubles.get(what) != said:
            log.warning("the dashboard's %s: %s", what, said)
        self.troubles[what] = said
        self.has_begun.set()
        await asyncio.sleep(_AGAIN_SECONDS)

    async def _read(self) -> None:
        async with AsyncExitStack() as stack:
            consumer = AIOKafkaConsumer(
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_min_bytes=_FETCH_BYTES,
                fetch_max_wait_ms=_FETCH_MS,
                max_partition_fetch_bytes=_PARTITION_BYTES,
                **self._settings.client_kwargs(),
            )
            stack.push_async_callback(stop, consumer)
            await consumer.start()
            await self._begin(consumer)
            if await self._is_at_the_end(consumer):
                self.has_begun.set()
            while True:
                try:
                    await self._take(await consumer.getmany(timeout_ms=1000), consumer)
                    self.troubles.pop("records", None)
                except KafkaError as error:
                    # What was read is not read again, as it would be from the beginning.
                    await self._trouble("records", error)

    async def _take(self, fetched: Mapping[Any, Any], consumer: AIOKafkaConsumer) -> None:
        for place, records in fetched.items():
            for record in records:
                self._takes[place.topic](record)
            await self._catch_up(consumer, place)
            # Others have the event loop between one topic's records and the next one's.
            await asyncio.sleep(0)
        if not self.has_begun.is_set() and await self._is_at_the_end(consumer):
            self.has_begun.set()

    async def _is_at_the_end(self, consumer: AIOKafkaConsumer) -> bool:
        """Whether all is read that was there when reading began."""
        for place, begin in self._positions.items():
            if await consumer.position(place) < begin.end:
                return False
        return True

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        topics = self._settings.topics
        recently = datetime.now(UTC) - timedelta(seconds=SECONDS)
        timed_topics = (topics.queries, topics.requests, topics.responses)
        least = {topics.responses: 200, topics.dead_letters: 500}
        partitions = await self._partitions(consumer)
        since_ms = int(recently.timestamp() * 1000)
        asked = {place: since_ms for place in partitions if place.topic in timed_topics}
        firsts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        timed = await consumer.offsets_for_times(asked)
        consumer.assign(partitions)
        for place in partitions:
            found = timed.get(place)
            begin = position(
                firsts[place],
                ends[place],
                None if found is None else found.offset,
                least=least.get(place.topic, 0),
            )
            self._positions[place] = begin
            if begin.is_late:
                self._late.add(place)
            consumer.seek(place, begin.offset)
            if place.topic in self._model.backlogs:
                backlog = Backlog(begin.offset, firsts[place])
                self._model.backlogs[place.topic][place.partition] = backlog
            if place.topic == topics.dead_letters and begin.offset > firsts[place]:
                self._model.letters.cut()

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        found = []
        for topic in self._takes:
            await consumer._client.add_topic(topic)
            if not (numbers := consumer.partitions_for_topic(topic)):
                raise KafkaError(f"topic {topic} can't be seen")
            found += [TopicPartition(topic, number) for number in sorted(numbers)]
        return found

    async def _catch_up(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
        end = consumer.highwater(place) or 0
        behind = end - await consumer.position(place)
        if behind <= _MOST_BEHIND or place.topic not in self._model.flow.topics:
            return
        consumer.seek(place, end)
        now = datetime.now(UTC).timestamp()
        self._model.flow.add(place.topic, now, now, behind)
        if place.topic in self._model.backlogs:
            self._model.backlogs[place.topic][place.partition].skip(end)

    def _on_query(self, record: Any) -> None:
        self._count(record)
        if self._model.with_text and (query := self._decoded(Query, record)):
            origin = Origin(record.topic, record.partition, record.offset)
            self._model.ask(origin, query)

    def _on_response(self, record: Any) -> None:
        now = self._count(record)
        is_wanted = self._is_wanted(record) if self._is_old(record) else self._model.has_room(now)
        if is_wanted and (response := self._decoded(Response, record)):
            self._model.answer(response, from_timestamp(record.timestamp))

    def _on_letter(self, record: Any) -> None:
        if record.value is None:
            self._model.letters.purge(record.partition, record.key or b"")
            return
        letter = read_dead_letter(
            self._codec,
            partition=record.partition,
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
        self._model.letters.add(letter)

    def _count(self, record: Any) -> float:
        """Counts the record; the time now."""
        now, written = datetime.now(UTC).timestamp(), record.timestamp / 1000
        place = TopicPartition(record.topic, record.partition)
        if place in self._late:
            self._late.remove(place)
            self._model.flow.begins(record.topic, written)
        self._model.flow.add(record.topic, written, now, is_old=self._is_old(record))
        if backlogs := self._model.backlogs.get(record.topic):
            backlogs[record.partition].see(record.offset)
        return now

    def _is_old(self, record: Any) -> bool:
        place = TopicPartition(record.topic, record.partition)
        return bool(record.offset < self._positions[place].end)

    def _is_wanted(self, record: Any) -> bool:
        """Whether it is one of the newest of those that were there before."""
        place = TopicPartition(record.topic, record.partition)
        return bool(record.offset >= self._positions[place].end - _MOST_OLD)

    def _decoded(self, record_type: Any, record: Any) -> Any:
        try:
            return self._codec.decode(record_type, record.value or b"")
        except UnknownSchema:
            self._model.unreadable += 1
        except DecodeError:
            # A dead letter soon, and shown as that.
            pass
        return None

    async def _ask_lag(self) -> None:
        admin = AIOKafkaAdminClient(**self._settings.client_kwargs())
        try:
            await admin.start()
            while True:
                for topic, group in self._groups.items():
                    for place, found in (await admin.list_consumer_group_offsets(group)).items():
                        backlog = self._model.backlogs[topic].get(place.partition)
                        if place.topic == topic and found.offset >= 0 and backlog is not None:
                            backlog.commit(Committed(found.offset, found.metadata or ""))
                    self._model.know_lag(topic)
                self.troubles.pop("lag", None)
                await asyncio.sleep(_LAG_SECONDS)
        finally:
            await admin.close()
