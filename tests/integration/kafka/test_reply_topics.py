"""Reply topics that clients name, and that may not be there."""

import asyncio

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import Topics
from streams.kafka.consumer import ConsumerOptions
from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import PartitionTransactions
from streams.kafka.window import Committed
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import Hands, eventually, member


def reply(topic: str) -> Output:
    return Output(topic, b"value", b"key", is_optional=True)


async def test_a_name_that_no_request_can_hold_holds_nothing_up(
    cluster: Cluster, kafka_settings: KafkaSettings, topics: Topics, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, [b"0"])
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        await eventually(lambda: hands.records, "the record")
        name = f"{topics.replies}.{'x' * 40_000}"
        consumer.finish(TopicPartition(source, 0), 0, [Output(target, b"0", b"0"), reply(name)])
        await eventually(lambda: cluster.committed(group, source) == 1, "the commit")
    assert len(cluster.read(target)) == 1


async def test_many_that_are_not_there_hold_nothing_up(
    cluster: Cluster, kafka_settings: KafkaSettings, topics: Topics, group: str
) -> None:
    count = 1500
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, [b"x"] * count)
    hands = Hands(target)
    options = ConsumerOptions(session_timeout=6.0, max_in_flight=4096)
    async with member(kafka_settings, group, source, hands, options) as consumer:
        await eventually(lambda: len(hands.records) == count, "all of them")
        for offset in range(count):
            outputs = [Output(target, b"0", b"0"), reply(f"{topics.replies}.client-{offset}")]
            consumer.finish(TopicPartition(source, 0), offset, outputs)
        await eventually(lambda: cluster.committed(group, source) == count, "the commit")
    assert len(cluster.read(target)) == count


async def test_one_is_found_though_the_cluster_is_just_asked_for_others(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target, replies = (cluster.create(name) for name in ("in", "out", "replies"))
    cluster.commit(group, source, 0)
    limits = SizeLimits(kafka_settings.max_record_bytes)
    transactions = PartitionTransactions(kafka_settings, group, TopicPartition(source, 0), limits)
    admin = AIOKafkaAdminClient(**kafka_settings.client_kwargs())
    await admin.start()
    try:
        await transactions.initialise(admin)
        await transactions.commit([Output(target, b"0", b"0")], Committed(1))
        assert transactions._producer is not None
        client = transactions._producer.client
        # All topics are asked for where a client knows none.
        client.set_topics([target])
        asking = asyncio.Event()
        connection = await client._get_conn(1)
        send = connection.send

        def told(*arguments: object, **options: object) -> object:
            asking.set()
            return send(*arguments, **options)

        connection.send = told
        # As after a connection that broke, and now and then.
        client.force_metadata_update()
        await asking.wait()
        await transactions.commit([Output(target, b"1", b"1"), reply(replies)], Committed(2))
        assert [message.value() for message in cluster.read(replies)] == [b"value"]
    finally:
        await transactions.close()
        await admin.close()
