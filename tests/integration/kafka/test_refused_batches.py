"""Outputs that a topic does not take, though they are within our own limit."""

import pytest
from aiokafka import TopicPartition

from schemas.errors import RecordTooLarge
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import Hands, eventually, member


async def test_a_record_that_its_topic_refuses_comes_back_and_the_others_are_written(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source = cluster.create("in")
    target = cluster.create("out", config={"max.message.bytes": "50000"})
    cluster.produce(source, [b"0", b"1", b"2"])
    partition = TopicPartition(source, 0)
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        await eventually(lambda: len(hands.records) == 3, "all records")
        for offset, size in ((0, 10), (1, 60_000), (2, 20)):
            consumer.finish(partition, offset, [Output(target, bytes(size))])
        await eventually(lambda: hands.offsets.count(1) == 2, "the record once more")
        with pytest.raises(RecordTooLarge, match=r"60,000 bytes, 59,999 are allowed"):
            consumer.finish(partition, 1, [Output(target, bytes(60_000))])
        consumer.finish(partition, 1, [Output(target, bytes(30))])
        await eventually(lambda: cluster.committed(group, source) == 3, "all committed")
    assert hands.offsets == [0, 1, 2, 1]
    assert sorted(len(m.value() or b"") for m in cluster.read(target)) == [10, 20, 30]


async def test_records_that_are_too_many_for_one_batch_go_in_smaller_ones(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source = cluster.create("in")
    target = cluster.create("out", config={"max.message.bytes": "50000"})
    cluster.produce(source, [b"%d" % number for number in range(12)])
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        await eventually(lambda: len(hands.records) == 12, "all records")
        for offset in range(12):
            output = Output(target, bytes(15_000 + offset))
            consumer.finish(TopicPartition(source, 0), offset, [output])
        await eventually(lambda: cluster.committed(group, source) == 12, "all committed")
    assert hands.offsets == list(range(12))
    sizes = [len(message.value() or b"") for message in cluster.read(target)]
    assert sorted(sizes) == [15_000 + number for number in range(12)]
