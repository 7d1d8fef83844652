"""Creating topics, and waiting for them."""

import asyncio

import pytest

from cli.stack.ports import free_port
from schemas.errors import ConfigurationError
from schemas.topics import TopicSpec
from streams.kafka.admin import Difference, await_cluster, create_topics
from streams.kafka.settings import KafkaSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import eventually


async def test_missing_topics_are_created_with_their_settings(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    specs = kafka_settings.topics.specs(partitions=5)
    assert await create_topics(kafka_settings, specs) == []
    counts = cluster.topics()
    for spec in specs:
        assert counts[spec.name] == spec.partitions
        assert spec.config.items() <= cluster.config(spec.name).items()


async def test_creating_them_again_changes_and_reports_nothing(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    specs = kafka_settings.topics.specs()
    await create_topics(kafka_settings, specs)
    assert await create_topics(kafka_settings, specs) == []


async def test_what_differs_is_reported_and_left_as_it_is(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    name = cluster.create("ours", partitions=2, config={"retention.ms": "5000"})
    other = cluster.create("theirs", partitions=1)
    specs = [
        TopicSpec(name, 4, {"retention.ms": "7000", "cleanup.policy": "delete"}),
        TopicSpec(f"{name}-missing", 1),
    ]
    found = await create_topics(kafka_settings, specs)
    assert found == [
        Difference(name, "partitions", "2", "4"),
        Difference(name, "retention.ms", "5000", "7000"),
    ]
    assert str(found[1]) == f"topic {name}: retention.ms is 5000, expected 7000"
    counts = cluster.topics()
    assert (counts[name], counts[f"{name}-missing"], counts[other]) == (2, 1, 1)
    assert cluster.config(name)["retention.ms"] == "5000"


async def test_a_setting_that_the_broker_refuses_is_told(kafka_settings: KafkaSettings) -> None:
    spec = TopicSpec(f"{kafka_settings.topic_prefix}bad", 1, {"cleanup.policy": "never"})
    with pytest.raises(ConfigurationError, match="bad was not created"):
        await create_topics(kafka_settings, [spec])


async def test_a_cluster_that_is_not_there_is_told() -> None:
    settings = KafkaSettings(kafka=f"127.0.0.1:{free_port()}")
    with pytest.raises(ConfigurationError, match=f"topics at {settings.kafka} could not be"):
        await create_topics(settings, settings.topics.specs())


async def test_waiting_ends_when_the_last_topic_is_there(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topics = kafka_settings.topics
    specs = topics.specs(partitions=3)
    await create_topics(kafka_settings, [spec for spec in specs if spec.name != topics.queries])
    reasons: list[str] = []
    names = [spec.name for spec in specs]
    waiting = asyncio.create_task(await_cluster(kafka_settings, names, reasons.append))
    await eventually(lambda: reasons, "a reason to wait")
    assert not waiting.done()
    await create_topics(kafka_settings, specs)
    counts = await waiting
    assert reasons == [f"waiting for topics {topics.queries} at {kafka_settings.kafka}"]
    assert counts == {spec.name: spec.partitions for spec in specs}


async def test_waiting_for_a_cluster_says_so_once(kafka_settings: KafkaSettings) -> None:
    settings = KafkaSettings(kafka=f"127.0.0.1:{free_port()}")
    reasons: list[str] = []
    waiting = asyncio.create_task(await_cluster(settings, ["any"], reasons.append))
    await eventually(lambda: reasons, "a reason to wait")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert reasons == [f"waiting for Kafka at {settings.kafka} (KafkaConnectionError)"]
