"""Producers that go on after a record of theirs could not be written."""

from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest
from aiokafka.errors import KafkaError

from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.settings import KafkaSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import eventually


@pytest.fixture
async def producer(kafka_settings: KafkaSettings) -> AsyncIterator[IdempotentProducer]:
    impatient = kafka_settings.model_copy(update={"request_timeout_ms": 2000})
    made = IdempotentProducer(impatient)
    await made.start()
    yield made
    await made.stop()


async def test_one_that_was_refused_is_the_last_that_is_lost(
    cluster: Cluster, producer: IdempotentProducer
) -> None:
    topic = cluster.create("out")
    await producer.send_and_wait(topic, b"first", b"key")
    cluster.limit(topic, 2000)
    with pytest.raises(KafkaError):
        await producer.send_and_wait(topic, b"x" * 5000, b"key")
    for number in range(3):
        await producer.send_and_wait(topic, b"%d" % number, b"key")
    assert [m.value() for m in cluster.read(topic)] == [b"first", b"0", b"1", b"2"]


async def test_so_it_is_where_nobody_waits_for_it(
    cluster: Cluster, producer: IdempotentProducer, caplog: pytest.LogCaptureFixture
) -> None:
    topic = cluster.create("out")
    await producer.send(topic, b"first", b"key")
    await eventually(lambda: cluster.read(topic), "the first")
    cluster.limit(topic, 2000)
    failed = producer._producer
    await producer.send(topic, b"x" * 5000, b"key")
    await eventually(lambda: producer._producer is not failed, "another producer")
    assert "a record was not written: MessageSizeTooLargeError" in caplog.text
    for number in range(3):
        await producer.send(topic, b"%d" % number, b"key")
    await eventually(lambda: len(cluster.read(topic)) == 4, "those after it")


async def test_a_partition_without_a_leader_is_written_to_once_it_has_one(
    cluster: Cluster, producer: IdempotentProducer
) -> None:
    topic = cluster.create("out")
    await producer.send_and_wait(topic, b"first", b"key")
    assert producer._producer is not None
    metadata = producer._producer.client.cluster
    # As the brokers tell of a partition all of whose replicas are down.
    with (
        patch.object(metadata, "leader_for_partition", lambda partition: -1),
        pytest.raises(KafkaError),
    ):
        await producer.send_and_wait(topic, b"lost", b"key")
    await producer.send_and_wait(topic, b"second", b"key")
    assert [m.value() for m in cluster.read(topic)] == [b"first", b"second"]
