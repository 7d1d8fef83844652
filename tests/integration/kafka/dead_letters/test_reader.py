"""The topic of dead letters is read as it is, to its very end."""

import asyncio
from dataclasses import replace

import pytest

from schemas.errors import ConfigurationError
from schemas.topics import Topics
from streams.kafka.dead_letters.filter import Filter
from streams.kafka.dead_letters.reader import read_dead_letters
from streams.kafka.settings import KafkaSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.dead_letters.letters import dead_queries, put, read_all
from tests.integration.kafka.members import eventually
from tests.unit.streams.kafka.dead_letters.factories import CODEC, written


async def test_each_is_read_once_as_it_is_now_and_not_if_it_was_purged(
    cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    first, second, third = dead_queries(live_topics, 3)
    put(cluster, first, second, third, replace(first, value=b"newer"), replace(third, value=None))
    found = {letter.origin: letter.value for letter in await read_all(kafka_settings)}
    assert found == {
        f"{live_topics.queries}/0/0": b"newer",
        f"{live_topics.queries}/0/1": b"1",
    }


async def test_foreign_records_are_read_too(
    cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    cluster.produce(
        live_topics.dead_letters, [b"\xff"], key=b"\xfe", headers=[("x", None), ("x", b"\xfd")]
    )
    (found,) = await read_all(kafka_settings)
    assert (found.key, found.value) == (b"\xfe", b"\xff")
    assert found.headers == (("x", None), ("x", b"\xfd"))
    assert found.problem


async def test_what_lies_behind_an_open_transaction_is_waited_for(
    cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    """Else a redrive would not see the marks of the one before, and do its work twice."""
    topic = live_topics.dead_letters
    first, opened, behind = dead_queries(live_topics, 3)
    read: list[int] = []
    with cluster.transactions() as other:
        other.begin_transaction()
        for output in (first, opened, behind):
            # All on one partition: the middle one is open while the others are done.
            if output is opened:
                other.produce(topic, output.value, output.key, 0, headers=list(output.headers))
                other.flush()
            else:
                cluster.produce(topic, [output.value], key=output.key, headers=output.headers)
        reading = asyncio.create_task(
            read_dead_letters(kafka_settings, CODEC, Filter().matches, read.append)
        )
        await eventually(lambda: read, "the first one read, so the end was asked for")
        other.abort_transaction()
        found = await reading
    assert [letter.value for letter in found] == [b"0", b"2"]


async def test_only_what_is_meant_is_kept(
    cluster: Cluster, kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    put(cluster, *dead_queries(live_topics, 2), written(query_id="q-2", topics=live_topics))
    wanted = Filter(query_id="q-2")
    (found,) = await read_dead_letters(kafka_settings, CODEC, wanted.matches)
    assert found.query_id == "q-2"


async def test_a_topic_that_is_missing_is_named(kafka_settings: KafkaSettings) -> None:
    with pytest.raises(ConfigurationError, match=kafka_settings.topics.dead_letters):
        await read_all(kafka_settings)
