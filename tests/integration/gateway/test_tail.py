"""Following a topic's end, and what ends that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from streams.gateway.tail import OnRecord, Tail
from streams.kafka.settings import KafkaSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.conftest import cluster
from tests.integration.kafka.members import eventually

__all__ = ["cluster"]


class Unforeseen(Exception):
    """What nobody expects."""


@asynccontextmanager
async def following(settings: KafkaSettings, topic: str, take: OnRecord) -> AsyncIterator[Tail]:
    tail = Tail(settings, topic, partitions=[0], isolation="read_committed")
    tail.listen(take)
    try:
        await tail.start()
        yield tail
    finally:
        with suppress(Unforeseen):
            await tail.stop()


async def test_what_comes_after_the_start_is_read(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic, seen = cluster.create("tail"), list[bytes]()
    cluster.produce(topic, [b"before"])
    async with following(kafka_settings, topic, lambda key, value: seen.append(value)) as tail:
        cluster.produce(topic, [b"after"])
        await eventually(lambda: seen == [b"after"], "what came")
        assert tail.topic_is_there
        assert tail.failure is None


async def test_who_fails_on_a_record_has_ended_the_reading(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    def take(key: bytes, value: bytes) -> None:
        raise Unforeseen

    topic = cluster.create("tail")
    async with following(kafka_settings, topic, take) as tail:
        cluster.produce(topic, [b"x"])
        await eventually(lambda: isinstance(tail.failure, Unforeseen), "the failure")


async def test_fetching_that_has_ended_is_told(
    cluster: Cluster, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*arguments: Any, **options: Any) -> None:
        raise Unforeseen

    topic = cluster.create("tail")
    async with following(kafka_settings, topic, lambda key, value: None) as tail:
        assert tail._consumer is not None
        with monkeypatch.context() as patch:
            patch.setattr(tail._consumer._client, "send", send)
            cluster.produce(topic, [b"x"])
            await eventually(lambda: tail.failure is not None, "the failure")
