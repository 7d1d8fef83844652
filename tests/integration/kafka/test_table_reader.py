"""Following a compacted topic."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka.errors import KafkaError

from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import eventually

COMPACTED = {"cleanup.policy": "compact"}

Entry = tuple[str, bytes, bytes | None, int]


@asynccontextmanager
async def reading(
    settings: KafkaSettings,
    topics: Sequence[str],
    from_end: bool = False,
    since: datetime | None = None,
) -> AsyncIterator[tuple[TableReader, list[Entry]]]:
    seen: list[Entry] = []

    def on_record(topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        seen.append((topic, key, value, offset))

    reader = TableReader(settings, topics, on_record, from_end=from_end, since=since)
    try:
        await reader.start()
        yield reader, seen
    finally:
        await reader.stop()


async def test_all_that_was_there_is_read_before_start_returns(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", partitions=2, config=COMPACTED)
    cluster.produce(topic, [b"1", b"2"], key=b"a")
    cluster.produce(topic, [b"3", None], key=b"b", partition=1)
    async with reading(kafka_settings, [topic]) as (_, seen):
        assert sorted(seen, key=lambda entry: (entry[1], entry[3])) == [
            (topic, b"a", b"1", 0),
            (topic, b"a", b"2", 1),
            (topic, b"b", b"3", 0),
            (topic, b"b", None, 1),
        ]


async def test_an_empty_topic_is_read_at_once(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    async with reading(kafka_settings, [topic]) as (reader, seen):
        await reader.catch_up()
        assert seen == []


async def test_several_topics_are_followed_together(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    first, second = cluster.create("table"), cluster.create("table")
    cluster.produce(first, [b"1"], key=b"a")
    async with reading(kafka_settings, [first, second]) as (reader, seen):
        cluster.produce(second, [b"2"], key=b"b")
        await reader.catch_up()
        assert seen == [(first, b"a", b"1", 0), (second, b"b", b"2", 0)]


async def test_later_records_and_tombstones_are_followed(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    async with reading(kafka_settings, [topic]) as (_, seen):
        cluster.produce(topic, [b"1", None], key=b"a")
        await eventually(lambda: len(seen) == 2, "both records")
        assert seen == [(topic, b"a", b"1", 0), (topic, b"a", None, 1)]


async def test_what_arrives_together_is_told_of_once(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    seen: list[bytes] = []
    told: list[int] = []
    reader = TableReader(
        kafka_settings,
        [topic],
        lambda _, key, __, ___: seen.append(key),
        on_read=lambda: told.append(len(seen)),
    )
    try:
        await reader.start()
        assert told == []
        # Readers get none of a transaction's records before its end, and then all.
        with cluster.transactions() as producer:
            producer.begin_transaction()
            for number in range(20):
                producer.produce(topic, b"value", key=b"%d" % number)
            producer.commit_transaction()
        await eventually(lambda: len(seen) == 20, "all of them")
        assert told == [20]
    finally:
        await reader.stop()


async def test_no_more_is_read_while_what_has_arrived_takes_its_time(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    seen: list[bytes] = []
    is_free = asyncio.Event()

    async def take() -> None:
        await is_free.wait()

    reader = TableReader(
        kafka_settings, [topic], lambda _, key, __, ___: seen.append(key), on_read=take
    )
    try:
        await reader.start()
        cluster.produce(topic, [b"1"], key=b"a")
        await eventually(lambda: seen == [b"a"], "the first")
        cluster.produce(topic, [b"2"], key=b"b")
        async with reading(kafka_settings, [topic]) as (_, others):
            assert len(others) == 2  # it is there
        assert seen == [b"a"]
        is_free.set()
        await eventually(lambda: seen == [b"a", b"b"], "the second")
    finally:
        await reader.stop()


async def test_catching_up_covers_what_was_acknowledged_before(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    async with reading(kafka_settings, [topic]) as (reader, seen):
        for number in range(20):
            cluster.produce(topic, [f"{number}".encode()], key=b"a")
            await reader.catch_up()
            assert seen[-1] == (topic, b"a", f"{number}".encode(), number)


async def test_markers_at_the_end_of_the_log_hold_nobody_up(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    with cluster.transactions() as producer:
        producer.begin_transaction()
        producer.produce(topic, b"1", key=b"a")
        producer.commit_transaction()
        producer.begin_transaction()
        producer.produce(topic, b"2", key=b"a")
        producer.flush()
        producer.abort_transaction()
        async with reading(kafka_settings, [topic]) as (reader, seen):
            assert seen == [(topic, b"a", b"1", 0)]
            producer.begin_transaction()
            producer.produce(topic, b"3", key=b"a")
            producer.commit_transaction()
            producer.begin_transaction()
            producer.produce(topic, b"4", key=b"a")
            producer.flush()
            producer.abort_transaction()
            await reader.catch_up()
            assert [value for _, _, value, _ in seen] == [b"1", b"3"]


async def test_only_aborted_records_hold_nobody_up(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    with cluster.transactions() as producer:
        producer.begin_transaction()
        producer.produce(topic, b"1", key=b"a")
        producer.flush()
        producer.abort_transaction()
    async with reading(kafka_settings, [topic]) as (_, seen):
        assert seen == []


async def test_an_open_transaction_holds_nobody_up_and_shows_when_it_is_committed(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table", config=COMPACTED)
    with cluster.transactions() as producer:
        producer.begin_transaction()
        producer.produce(topic, b"1", key=b"a")
        producer.flush()
        async with reading(kafka_settings, [topic]) as (_, seen):
            assert seen == []
            producer.commit_transaction()
            await eventually(lambda: seen == [(topic, b"a", b"1", 0)], "the committed record")


async def test_a_reader_from_the_end_sees_only_what_is_new(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("log")
    cluster.produce(topic, [b"1"], key=b"a")
    async with reading(kafka_settings, [topic], from_end=True) as (_, seen):
        cluster.produce(topic, [b"2"], key=b"a")
        await eventually(lambda: seen, "the new record")
        assert seen == [(topic, b"a", b"2", 1)]


async def test_a_reader_since_a_time_sees_what_was_written_from_then_on(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic, empty = cluster.create("log", partitions=2), cluster.create("log")
    # Not so long ago that retention would take the records away meanwhile.
    at = int(datetime.now(UTC).timestamp()) * 1000
    since = datetime.fromtimestamp(at / 1000, UTC)
    cluster.produce(topic, [b"1"], key=b"a", partition=1, timestamp_ms=at - 1)
    cluster.produce(topic, [b"2"], key=b"a", partition=1, timestamp_ms=at)
    async with reading(kafka_settings, [topic, empty], since=since) as (_, seen):
        assert seen == [(topic, b"a", b"2", 1)]
        cluster.produce(topic, [b"3"], key=b"a", partition=0)
        await eventually(lambda: (topic, b"a", b"3", 0) in seen, "the new record")


async def test_a_missing_topic_is_an_error(kafka_settings: KafkaSettings) -> None:
    missing = kafka_settings.topics.adapters
    with pytest.raises(KafkaError, match=f"topic {missing} does not exist"):
        async with reading(kafka_settings, [missing]):
            pass
