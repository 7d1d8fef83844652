"""Each record is redriven exactly once, however many redrive and whatever is killed."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.codec import Codec
from schemas.errors import ConfigurationError, DeadLettersConflict
from schemas.records import InferenceRequest, Origin
from schemas.topics import MAX_QUERY_BYTES, Topics
from streams.kafka.settings import KafkaSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.dead_letters.letters import (
    dead_queries,
    planned,
    put,
    read_all,
    redrive_all,
    values,
    writer,
)
from tests.integration.kafka.members import eventually
from tests.unit.streams.kafka.dead_letters.factories import (
    DEAD_SINCE,
    UNREADABLE,
    failed_request,
    written,
)

ROOT = Path(__file__).parents[4]
KILLED = "tests.integration.kafka.dead_letters.killed_redrive"
COUNT = 250  # three transactions


@pytest.fixture(autouse=True)
def no_futures_left() -> Iterator[None]:
    """Collects the futures that aiokafka leaves unread in a fenced producer, as the registry's."""
    yield
    gc.collect()


async def until_there(cluster: Cluster, topic: str, count: int) -> Counter[bytes]:
    """The values on the topic, once so many are there: a commit is seen a moment after it."""
    found: Counter[bytes] = Counter()

    def read() -> bool:
        found.clear()
        found.update(values(cluster.read(topic)))
        return found.total() >= count

    await eventually(read, f"{count} records on {topic}")
    return found


def numbers(count: int) -> Counter[bytes]:
    return Counter(str(number).encode() for number in range(count))


class TestRedriving:
    async def test_the_original_is_written_again_and_its_dead_letter_is_marked(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        put(cluster, written(Origin(live_topics.queries, 0, 5), topics=live_topics))
        (before,) = await read_all(kafka_settings)
        assert await redrive_all(kafka_settings) == 1
        await until_there(cluster, live_topics.queries, 1)
        (message,) = cluster.read(live_topics.queries)
        assert (message.key(), message.value()) == (b"session-1", b"\x07 no query")
        assert message.headers() == [
            ("traceparent", b"00-1-2-01"),
            ("lorelay.redriven.from", f"{live_topics.queries}/0/5".encode()),
            ("lorelay.redriven.count", b"1"),
        ]
        (after,) = await read_all(kafka_settings)
        assert (after.redriven_at, after.redriven_count) == (DEAD_SINCE, 1)
        assert after.since == before.since
        assert await redrive_all(kafka_settings) == 0

    async def test_a_request_gets_all_its_attempts_again(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        request, origin = failed_request(attempt=3)
        origin = replace(origin, topic=live_topics.requests)
        key = b"legal-qa-v1@1.0.0"
        value = Codec().encode(request)
        put(cluster, written(origin, key=key, value=value, topics=live_topics))
        await redrive_all(kafka_settings)
        await until_there(cluster, live_topics.requests, 1)
        (message,) = cluster.read(live_topics.requests)
        redriven = Codec().decode(InferenceRequest, message.value() or b"")
        assert redriven == replace(request, attempt=1)
        assert message.key() == key

    async def test_a_request_that_cannot_be_read_is_redriven_as_it_is(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        origin = Origin(live_topics.requests, 0, 5)
        put(cluster, written(origin, value=b"\xc3\x01later", key=None, topics=live_topics))
        await redrive_all(kafka_settings)
        assert await until_there(cluster, live_topics.requests, 1) == {b"\xc3\x01later": 1}
        assert cluster.read(live_topics.requests)[0].key() is None

    async def test_a_topic_that_takes_no_record_so_large_is_a_plain_sentence(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        (number,) = dead_queries(live_topics, 1)
        large = written(
            Origin(live_topics.queries, 0, 9),
            value=bytes(MAX_QUERY_BYTES + 5000),
            topics=live_topics,
        )
        put(cluster, number, large)
        with pytest.raises(ConfigurationError, match=r"queries/0/9 is too large"):
            await redrive_all(kafka_settings)
        assert {letter.redriven_count for letter in await read_all(kafka_settings)} == {0}

    async def test_again_means_again(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        put(cluster, *dead_queries(live_topics, 1))
        await redrive_all(kafka_settings)
        async with writer(kafka_settings) as open_writer:
            ready = planned(kafka_settings, open_writer.letters, again=True).ready
            await open_writer.redrive(ready, DEAD_SINCE)
        await until_there(cluster, live_topics.queries, 2)
        (letter,) = await read_all(kafka_settings)
        assert letter.redriven_count == 2


class TestPurging:
    async def test_what_is_purged_is_gone_and_nothing_else(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        put(cluster, *dead_queries(live_topics, 3))
        async with writer(kafka_settings) as open_writer:
            await open_writer.purge([x for x in open_writer.letters if x.value == b"1"])
        assert {letter.value for letter in await read_all(kafka_settings)} == {b"0", b"2"}

    async def test_it_is_removed_from_the_partition_where_it_lies(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        for partition in range(4):
            cluster.produce(live_topics.dead_letters, [b""], key=b"foreign", partition=partition)
        async with writer(kafka_settings) as open_writer:
            assert len(open_writer.letters) == 4
            await open_writer.purge(open_writer.letters)
        assert await read_all(kafka_settings) == []


class TestOneAtATime:
    async def test_a_second_writer_ends_the_first_ones_turn(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        put(cluster, *dead_queries(live_topics, 3))
        async with writer(kafka_settings) as first, writer(kafka_settings) as second:
            with pytest.raises(DeadLettersConflict, match="after 0 of 3") as caught:
                await first.redrive(first.letters, DEAD_SINCE)
            assert caught.value.retryable
            await second.redrive(second.letters, DEAD_SINCE)
        assert await until_there(cluster, live_topics.queries, 3) == numbers(3)

    async def test_a_purge_ends_a_redrive(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        put(cluster, *dead_queries(live_topics, 3))
        async with writer(kafka_settings) as redriving, writer(kafka_settings) as purging:
            await purging.purge(purging.letters)
            with pytest.raises(DeadLettersConflict):
                await redriving.redrive(redriving.letters, DEAD_SINCE)
        assert await read_all(kafka_settings) == []
        assert cluster.read(live_topics.queries) == []

    async def test_of_many_at_once_none_redrives_what_another_has(
        self, cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        put(cluster, *dead_queries(live_topics, COUNT))
        results = await asyncio.gather(
            *(redrive_all(kafka_settings) for _ in range(4)), return_exceptions=True
        )
        assert all(isinstance(result, int | DeadLettersConflict) for result in results), results
        assert any(isinstance(result, int) for result in results)
        assert await until_there(cluster, live_topics.queries, COUNT) == numbers(COUNT)
        assert await redrive_all(kafka_settings) == 0


@pytest.mark.parametrize(("when", "committed"), [("before", 100), ("after", 200)])
async def test_a_redrive_that_was_killed_and_is_repeated_writes_each_record_once(
    cluster: Cluster,
    kafka_settings: KafkaSettings,
    live_topics: Topics,
    when: str,
    committed: int,
) -> None:
    put(cluster, *dead_queries(live_topics, COUNT))
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", KILLED, "2", when, "dead-letters", "redrive", "--all", "--yes"],
        cwd=ROOT,
        env=os.environ
        | {
            "LORELAY_KAFKA": kafka_settings.kafka,
            "LORELAY_TOPIC_PREFIX": kafka_settings.topic_prefix,
        },
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert await redrive_all(kafka_settings) == COUNT - committed
    assert await until_there(cluster, live_topics.queries, COUNT) == numbers(COUNT)
    assert {letter.redriven_count for letter in await read_all(kafka_settings)} == {1}


async def test_what_a_worker_adds_meanwhile_stays(
    cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    put(cluster, *dead_queries(live_topics, 2))
    late = written(Origin(live_topics.requests, 3, 9), error=UNREADABLE, topics=live_topics)
    async with writer(kafka_settings) as open_writer:
        put(cluster, late)
        await open_writer.purge(open_writer.letters)
    assert [letter.key for letter in await read_all(kafka_settings)] == [late.key]
