import asyncio

from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings


def test_topics_are_created_once_and_found_as_expected(
    kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    assert asyncio.run(create_topics(kafka_settings, live_topics.specs())) == []


def test_a_topic_with_other_settings_is_reported_and_not_changed(
    kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    for _ in range(2):
        differences = asyncio.run(create_topics(kafka_settings, live_topics.specs(partitions=7)))
        assert f"topic {live_topics.queries}: partitions is 4, expected 7" in map(str, differences)
