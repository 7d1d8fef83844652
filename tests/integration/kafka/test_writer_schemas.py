"""Publishing the schemas that a process writes with, and learning those of others."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from schemas.codec import Codec, written_schemas
from schemas.definitions import read_schema
from schemas.errors import SchemaRegistryUnavailable, UnknownSchema
from schemas.records import Query
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from streams.kafka.writer_schemas import WriterSchemas
from tests.integration.kafka.cluster import Cluster

FUTURE_QUERY = json.dumps(
    {
        "type": "record",
        "name": "Query",
        "namespace": "lorelay",
        "fields": [
            {"name": "id", "type": ["null", "string"], "default": None},
            {"name": "of_tomorrow", "type": "string", "default": ""},
        ],
    }
)


@pytest.fixture(autouse=True)
async def schemas_topic(kafka_settings: KafkaSettings) -> None:
    topic = kafka_settings.topics.schemas
    specs = [spec for spec in kafka_settings.topics.specs() if spec.name == topic]
    await create_topics(kafka_settings, specs)


class Registry:
    """A schema registry that does not answer the first ``failures`` times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked = 0

    def schema_text(self, schema_id: int) -> str | None:
        self.asked += 1
        if self.asked <= self.failures:
            raise SchemaRegistryUnavailable("It does not answer: 500")
        return FUTURE_QUERY


@asynccontextmanager
async def started(
    settings: KafkaSettings, codec: Codec, patience_s: float = 30.0
) -> AsyncIterator[WriterSchemas]:
    schemas = WriterSchemas(settings, codec, patience_s=patience_s)
    try:
        await schemas.start()
        yield schemas
    finally:
        await schemas.stop()


async def test_every_schema_that_is_written_gets_published(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    async with started(kafka_settings, Codec()):
        pass
    published = {
        (message.key() or b"").decode(): (message.value() or b"").decode()
        for message in cluster.read(kafka_settings.topics.schemas)
    }
    assert published == dict(written_schemas())


async def test_what_is_published_already_is_not_published_again(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    for _ in range(3):
        async with started(kafka_settings, Codec()):
            pass
    assert len(cluster.read(kafka_settings.topics.schemas)) == len(written_schemas())


async def test_a_record_of_another_version_is_read_once_its_schema_is_published(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    fingerprint = read_schema(FUTURE_QUERY).fingerprint.hex()
    codec = Codec()
    async with started(kafka_settings, codec) as schemas:
        assert not codec.knows(fingerprint)
        cluster.produce(
            kafka_settings.topics.schemas, [FUTURE_QUERY.encode()], key=fingerprint.encode()
        )
        no_id_and_no_text = b"\0\0"
        payload = b"\xc3\x01" + bytes.fromhex(fingerprint) + no_id_and_no_text
        assert await schemas.decode(Query, payload) == Query()


async def test_records_of_another_version_may_come_all_at_once(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    fingerprint = read_schema(FUTURE_QUERY).fingerprint.hex()
    payload = b"\xc3\x01" + bytes.fromhex(fingerprint) + b"\0\0"
    async with started(kafka_settings, Codec()) as schemas:
        cluster.produce(
            kafka_settings.topics.schemas, [FUTURE_QUERY.encode()], key=fingerprint.encode()
        )
        found = await asyncio.gather(*(schemas.decode(Query, payload) for _ in range(20)))
    assert found == [Query()] * 20


async def test_a_schema_that_nobody_publishes_leaves_a_record_unreadable(
    kafka_settings: KafkaSettings,
) -> None:
    async with started(kafka_settings, Codec()) as schemas:
        for _ in range(3):
            with pytest.raises(UnknownSchema):
                await schemas.decode(Query, b"\xc3\x01 of them")


async def test_a_record_that_is_no_schema_is_passed_over(
    cluster: Cluster, kafka_settings: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    topic = kafka_settings.topics.schemas
    cluster.produce(topic, [b"\xff", b"no schema", b'{"type": "string"}', None], key=b"bad")
    fingerprint = read_schema(FUTURE_QUERY).fingerprint.hex()
    cluster.produce(topic, [FUTURE_QUERY.encode()], key=fingerprint.encode())
    codec = Codec()
    async with started(kafka_settings, codec):
        assert codec.knows(fingerprint)
    assert caplog.text.count("is no schema") == 3


async def test_a_schema_registry_that_is_away_for_a_moment_is_waited_for(
    kafka_settings: KafkaSettings,
) -> None:
    registry = Registry(failures=2)
    async with started(kafka_settings, Codec(lookup=registry)) as schemas:
        payload = b"\0\0\0\0\x63\0\0"
        found = await asyncio.gather(*(schemas.decode(Query, payload) for _ in range(5)))
    assert found == [Query()] * 5
    assert registry.asked == 3


async def test_a_schema_registry_that_stays_away_makes_records_unreadable_for_now(
    kafka_settings: KafkaSettings,
) -> None:
    registry = Registry(failures=1_000)
    async with started(kafka_settings, Codec(lookup=registry), patience_s=1.0) as schemas:
        for number in range(20):
            payload = bytes((0, 0, 0, 0, 100 + number, 0, 0))
            with pytest.raises(UnknownSchema, match="registry does not answer") as raised:
                await schemas.decode(Query, payload)
            assert raised.value.retryable and raised.value.dead_letter
        # Only the first one has waited; what has a known schema does not wait at all.
        assert registry.asked == 2
        assert await schemas.decode(Query, b'{"prompt": "x"}') == Query(prompt="x")
