"""A header whose name is no UTF-8, which the broker takes, is no end to any reader."""

from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.foreign_records import produce_with_header
from tests.integration.kafka.members import Hands, eventually, member

LATIN_1 = "größe".encode("latin-1")


async def test_a_member_is_given_it_and_what_follows(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, [b"0"])
    await produce_with_header(kafka_settings.kafka, source, b"1", LATIN_1)
    cluster.produce(source, [b"2"], headers=[("name", b"value")])
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands):
        await eventually(lambda: len(hands.records) == 3, "all of them")
    assert [record.value for record in hands.records] == [b"0", b"1", b"2"]
    assert [record.headers for record in hands.records] == [
        (),
        (("gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}e", b"value"),),
        (("name", b"value"),),
    ]


async def test_a_table_is_followed_beyond_it(
    cluster: Cluster, kafka_settings: KafkaSettings
) -> None:
    topic = cluster.create("table")
    seen: list[bytes | None] = []
    reader = TableReader(kafka_settings, [topic], lambda _, __, value, ___: seen.append(value))
    await reader.start()
    try:
        await produce_with_header(kafka_settings.kafka, topic, b"1", LATIN_1)
        cluster.produce(topic, [b"2"])
        await eventually(lambda: len(seen) == 2, "both")
    finally:
        await reader.stop()
    assert seen == [b"1", b"2"]
