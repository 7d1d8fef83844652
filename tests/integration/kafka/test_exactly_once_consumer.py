"""Consume-and-produce over a real broker, with work that ends in any order."""

import asyncio
import gc
import logging
from itertools import pairwise
from unittest.mock import AsyncMock

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaConnectionError

from schemas.errors import RecordTooLarge
from streams.kafka.consumer import ConsumerOptions, ExactlyOnceConsumer
from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.settling import LastTransaction, Unsettled
from streams.kafka.transactions import PartitionTransactions
from streams.kafka.window import Committed, decode_bitmap
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import Hands, eventually, give_up, member, metadata


def numbered(count: int, first: int = 0) -> list[bytes | None]:
    return [f"{number}".encode() for number in range(first, first + count)]


def values(cluster: Cluster, topic: str) -> list[bytes | None]:
    return [message.value() for message in cluster.read(topic)]


async def test_work_that_ends_out_of_order_is_written_at_once_and_the_offset_waits(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(6))
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands):
        await eventually(lambda: len(hands.records) == 6, "all six records")
        hands.finish(4, 2)
        await eventually(lambda: values(cluster, target) == [b"4", b"2"], "two results")

        await eventually(lambda: cluster.committed(group, source) == 0, "offset of the oldest")
        bitmap = await metadata(kafka_settings, group, source)
        assert decode_bitmap(0, bitmap) == {2, 4}

        hands.finish(0, 1)
        await eventually(lambda: cluster.committed(group, source) == 3, "offset up to the gap")
        hands.finish(3, 5)
        await eventually(lambda: cluster.committed(group, source) == 6, "all committed")
    assert await metadata(kafka_settings, group, source) == ""
    assert sorted(values(cluster, target)) == numbered(6)


async def test_a_new_member_is_given_only_what_the_last_one_had_not_finished(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(10))
    first = Hands(target)
    async with member(kafka_settings, group, source, first) as consumer:
        await eventually(lambda: len(first.records) == 10, "all ten records")
        first.finish(9, 7, 0, 3, 4)
        await eventually(lambda: consumer.in_flight == 5, "five in flight")
        await eventually(lambda: len(values(cluster, target)) == 5, "five results")

    second = Hands(target)
    async with member(kafka_settings, group, source, second):
        await eventually(lambda: len(second.records) >= 5, "the other five")
        assert second.offsets == [1, 2, 5, 6, 8]
        second.finish_all()
        await eventually(lambda: cluster.committed(group, source) == 10, "all committed")
    assert sorted(values(cluster, target)) == numbered(10)


async def test_markers_and_aborted_records_do_not_hold_the_offset_back(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    with cluster.transactions() as producer:
        for number in range(6):
            producer.begin_transaction()
            producer.produce(source, f"{number}".encode(), partition=0)
            producer.flush()
            if number % 3 == 1:
                producer.abort_transaction()
            else:
                producer.commit_transaction()
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        await eventually(lambda: len(hands.records) == 4, "the committed records")
        assert consumer.lag() == {TopicPartition(source, 0): 12}
        assert [record.value for record in hands.records] == [b"0", b"2", b"3", b"5"]
        assert hands.offsets == [0, 4, 6, 10]
        hands.finish_all()
        # What follows the last record stays unread until another comes: a marker is no record.
        await eventually(lambda: cluster.committed(group, source) == 11, "offset at 11")
        assert consumer.lag() == {TopicPartition(source, 0): 0}
    assert cluster.log_range(source) == (0, 12)


async def test_a_second_member_takes_some_partitions_and_nothing_is_done_twice(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in", partitions=4), cluster.create("out", partitions=2)
    for partition in range(4):
        cluster.produce(source, numbered(25, 25 * partition), partition=partition)
    first, second = Hands(target), Hands(target)
    async with member(kafka_settings, group, source, first):
        await eventually(lambda: len(first.records) == 100, "all records at the first member")
        first.finish(*range(0, 25, 2))
        async with member(kafka_settings, group, source, second):
            await eventually(lambda: first.lost, "partitions lost by the first member")
            moved = {partition.partition for partition in first.lost}
            assert len(moved) == 2
            # The first member still holds what it was given of all four partitions.
            first.finish_all()
            await eventually(
                lambda: {partition for partition, _ in second.places} == moved,
                "moved partitions at the second member",
            )
            second.finish_all()
            await eventually(
                lambda: [cluster.committed(group, source, p) for p in range(4)] == [25] * 4,
                "every partition committed",
            )
    assert sorted(values(cluster, target)) == sorted(numbered(100))


async def test_what_ends_between_two_assignments_is_kept_for_the_next(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in", partitions=2), cluster.create("out")
    for partition in range(2):
        cluster.produce(source, numbered(10, 10 * partition), partition=partition)
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        await eventually(lambda: len(hands.records) == 20, "all records")
        await give_up(consumer)
        hands.finish_all()
        await eventually(
            lambda: [cluster.committed(group, source, p) for p in range(2)] == [10, 10],
            "both partitions committed",
        )
        assert len(hands.records) == 20
    assert sorted(values(cluster, target)) == sorted(numbered(20))


@pytest.mark.parametrize("turns", [0, 1, 5, 25])
async def test_whoever_is_cancelled_while_leaving_leaves_all_the_same(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, turns: int
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    options = ConsumerOptions(session_timeout=6.0)
    consumer = ExactlyOnceConsumer(kafka_settings, group, source, Hands(target), options)
    running = asyncio.create_task(consumer.run())
    await eventually(lambda: consumer.not_ready is None, "member ready")
    assert cluster.members(group) == 1
    running.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert cluster.members(group) == 0


async def test_who_is_cancelled_just_as_there_is_room_again_leaves(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    options = ConsumerOptions(session_timeout=6.0)
    consumer = ExactlyOnceConsumer(kafka_settings, group, source, Hands(target), options)
    running = asyncio.create_task(consumer.run())
    # It waits for room, or for partitions, and both of them wake it in the same turn.
    await eventually(lambda: consumer._consumer is not None, "member joining")
    await asyncio.sleep(0)
    consumer._room.set()
    running.cancel()
    async with asyncio.timeout(30):
        await asyncio.wait([running])
    assert running.cancelled()
    assert cluster.members(group) == 0


async def test_rebalances_before_anything_is_committed_do_no_harm(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = cluster.create("in", partitions=4), cluster.create("out")
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        for _ in range(5):
            await give_up(consumer)
            await eventually(lambda: consumer.spans() and not consumer.not_ready, "assigned again")
        cluster.produce(source, numbered(3), partition=2)
        await eventually(lambda: len(hands.records) == 3, "all records")
    assert "trying again" not in caplog.text


async def test_a_fenced_owner_writes_nothing_and_drops_what_the_other_has_done(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(3))
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands):
        await eventually(lambda: len(hands.records) == 3, "all records")
        other = PartitionTransactions(
            kafka_settings,
            group,
            TopicPartition(source, 0),
            SizeLimits(kafka_settings.max_record_bytes),
        )
        admin = AIOKafkaAdminClient(**kafka_settings.client_kwargs())
        await admin.start()
        await other.initialise(admin)
        await admin.close()
        await other.commit([Output(target, b"of the other")], Committed(2))
        await other.close()

        hands.finish(0, 1, 2)
        await eventually(lambda: cluster.committed(group, source) == 3, "last record committed")
    assert values(cluster, target) == [b"of the other", b"2"]
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_takeover_ends_the_last_transaction_everywhere_once_more(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, is_committed: bool
) -> None:
    source, target = cluster.create("in"), cluster.create("out", partitions=3)
    place = TopicPartition(source, 0)
    limits = SizeLimits(kafka_settings.max_record_bytes)

    async def take_over() -> tuple[PartitionTransactions, Committed | None]:
        unsettled = Unsettled([target, "nowhere"])
        owner = PartitionTransactions(kafka_settings, group, place, limits, unsettled)
        return owner, await owner.initialise(admin)

    def ends() -> list[int]:
        return [cluster.log_range(target, number)[1] for number in range(3)]

    admin = AIOKafkaAdminClient(**kafka_settings.client_kwargs())
    await admin.start()
    first, committed = await take_over()
    # There was none, and so there is nothing to end.
    assert (committed, ends()) == (None, [0, 0, 0])
    with pytest.MonkeyPatch.context() as patched:
        producer = first._producer
        assert producer is not None
        if not is_committed:
            patched.setattr(producer, "commit_transaction", AsyncMock())
        await first.commit([Output(target, b"x", partition=0)], Committed(1))
    await first.close()
    second, committed = await take_over()
    await second.close()
    # A record and its marker; and one everywhere, which changes nothing of what has ended.
    assert (committed, ends()) == (Committed(1) if is_committed else None, [3, 1, 1])
    assert values(cluster, target) == ([b"x"] if is_committed else [])
    await admin.close()


async def test_what_could_not_be_ended_is_by_the_next_takeover_of_its_process(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    place = TopicPartition(source, 0)
    limits, unsettled = SizeLimits(kafka_settings.max_record_bytes), Unsettled([target])
    first, second, third = (
        PartitionTransactions(kafka_settings, group, place, limits, unsettled) for _ in range(3)
    )
    admin = AIOKafkaAdminClient(**kafka_settings.client_kwargs())
    await admin.start()
    await first.initialise(admin)
    await first.commit([Output(target, b"x")], Committed(1))
    await first.close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LastTransaction, "repeat", AsyncMock(side_effect=KafkaConnectionError))
        with pytest.raises(KafkaConnectionError):
            await second.initialise(admin)
    await second.close()
    assert unsettled.is_committed == {place: True}
    assert cluster.log_range(target)[1] == 2
    assert await third.initialise(admin) == Committed(1)
    assert unsettled.is_committed == {}
    assert cluster.log_range(target)[1] == 3
    await third.close()
    await admin.close()


async def test_what_retention_has_deleted_is_reported_and_the_rest_consumed(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(20))
    first = Hands(target)
    async with member(kafka_settings, group, source, first):
        await eventually(lambda: len(first.records) == 20, "all records")
        first.finish(0, 1, 5, 12)
        await eventually(lambda: cluster.committed(group, source) == 2, "offset at 2")
    cluster.delete_records(source, before=10)

    second = Hands(target)
    with caplog.at_level(logging.ERROR):
        async with member(kafka_settings, group, source, second):
            await eventually(lambda: len(second.records) == 9, "what is left")
            assert second.offsets == [10, 11, *range(13, 20)]
            second.finish_all()
            await eventually(lambda: cluster.committed(group, source) == 20, "all committed")
    assert "retention deleted 7 unfinished records below offset 10" in caplog.text


async def test_retention_that_overtakes_a_running_member_is_survived(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(50))
    hands = Hands(target)
    options = ConsumerOptions(max_in_flight=5, session_timeout=6.0)
    async with member(kafka_settings, group, source, hands, options):
        await eventually(lambda: len(hands.records) == 5, "as many as may be in flight")
        cluster.delete_records(source, before=40)
        hands.finish_all()

        def all_committed() -> bool:
            hands.finish_all()
            return cluster.committed(group, source) == 50

        await eventually(all_committed, "all committed")
    assert set(range(40, 50)) <= set(hands.offsets)
    written = values(cluster, target)
    assert len(written) == len(set(written)) == len(hands.records)


async def test_an_offset_past_the_end_of_the_log_is_an_error_and_never_skipped(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(3))
    cluster.commit(group, source, offset=10)
    hands = Hands(target)
    consuming = member(kafka_settings, group, source, hands)
    with caplog.at_level(logging.CRITICAL):
        entering = asyncio.create_task(consuming.__aenter__())
        await eventually(lambda: "is past the log's end 3" in caplog.text, "refusal")
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
    assert not hands.records
    assert cluster.committed(group, source) == 10


async def test_metadata_of_another_program_is_an_error_and_never_ignored(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(3))
    cluster.commit(group, source, offset=1, metadata="theirs")
    hands = Hands(target)
    consuming = member(kafka_settings, group, source, hands)
    with caplog.at_level(logging.CRITICAL):
        entering = asyncio.create_task(consuming.__aenter__())
        await eventually(lambda: "unknown format" in caplog.text, "refusal")
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
    assert not hands.records


async def test_an_output_too_large_is_refused_and_its_record_can_still_be_answered(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(2))
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        await eventually(lambda: len(hands.records) == 2, "both records")
        partition = TopicPartition(source, 0)
        too_large = Output(target, bytes(kafka_settings.max_record_bytes + 1))
        with pytest.raises(RecordTooLarge):
            consumer.finish(partition, 0, [too_large])
        consumer.finish(partition, 0, [Output(target, b"smaller")])
        consumer.finish(partition, 1, [Output(target, b"1")])
        await eventually(lambda: cluster.committed(group, source) == 2, "both committed")
    assert values(cluster, target) == [b"smaller", b"1"]


async def test_an_output_of_exactly_the_limit_is_written(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    limit = kafka_settings.max_record_bytes
    source = cluster.create("in")
    target = cluster.create("out", config={"max.message.bytes": str(limit + 4096)})
    cluster.produce(source, numbered(1))
    hands = Hands(target)
    async with member(kafka_settings, group, source, hands) as consumer:
        await eventually(lambda: hands.records, "the record")
        consumer.finish(TopicPartition(source, 0), 0, [Output(target, bytes(limit))])
        await eventually(lambda: cluster.committed(group, source) == 1, "committed")
    assert [len(value or b"") for value in values(cluster, target)] == [limit]


async def test_one_slow_record_stops_the_fetching_only_when_the_bitmap_is_full(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str
) -> None:
    count = 30_000
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, numbered(count))
    hands = Hands(target)
    options = ConsumerOptions(max_in_flight=100_000, session_timeout=6.0)
    seen = 1

    def finish_all_but_the_first() -> bool:
        nonlocal seen
        new = hands.records[seen:]
        seen += len(new)
        for record in new:
            consumer.finish(TopicPartition(source, 0), record.offset)
        return seen > 20_000

    async with member(kafka_settings, group, source, hands, options) as consumer:
        await eventually(finish_all_but_the_first, "more than 20,000 records past the slow one")
        await eventually(lambda: finish_all_but_the_first() and consumer.in_flight == 1, "idle")
        fetched = len(hands.records)
        assert fetched < count
        await eventually(lambda: cluster.committed(group, source) == 0, "bitmap committed")
        assert 3000 < len(await metadata(kafka_settings, group, source)) <= 4096

        hands.finish(0)
        await eventually(
            lambda: finish_all_but_the_first() and cluster.committed(group, source) == count,
            "all committed",
        )
    assert hands.offsets == list(range(count))
    assert all(before < after for before, after in pairwise(hands.offsets))


async def test_a_spare_member_takes_over_however_long_it_had_nothing_to_do(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    hands = [Hands(target), Hands(target)]
    async with (
        member(kafka_settings, group, source, hands[0]) as first,
        member(kafka_settings, group, source, hands[1]) as second,
    ):
        await eventually(lambda: len(first._owners) + len(second._owners) == 1, "it is one's")
        owner, spare = (first, hands[1]) if first._owners else (second, hands[0])
        monkeypatch.setattr(SubscriptionState, "fetcher_idle_time", 30 * 86_400.0)
        await owner.stop(within=0.0)
        cluster.produce(source, [b"x"])
        await eventually(lambda: spare.records, "the record")


async def test_a_member_that_was_full_for_long_goes_on(
    cluster: Cluster, kafka_settings: KafkaSettings, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = cluster.create("in"), cluster.create("out")
    cluster.produce(source, [b"0", b"1"])
    hands = Hands(target)
    options = ConsumerOptions(session_timeout=6.0, max_in_flight=1)
    async with member(kafka_settings, group, source, hands, options):
        await eventually(lambda: hands.offsets == [0], "the first")
        with monkeypatch.context() as for_long:
            for_long.setattr(SubscriptionState, "fetcher_idle_time", 30 * 86_400.0)
            # Long enough for a heartbeat to see it.
            await asyncio.sleep(3)
        assert cluster.members(group) == 1
        hands.finish(0)
        await eventually(lambda: hands.offsets == [0, 1], "the second")
