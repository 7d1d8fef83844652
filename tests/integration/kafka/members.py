"""Members of a consumer group whose work the test does by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.consumer import ConsumerOptions, ExactlyOnceConsumer
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings

_SECONDS = 60.0


async def eventually(condition: Callable[[], object], what: str) -> None:
    """Polls until the condition holds."""
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


async def give_up(consumer: ExactlyOnceConsumer) -> None:
    """Has the group divide its partitions anew; returns when all are given up, none assigned."""
    given_up = asyncio.Event()
    revoke = consumer._revoke

    async def watched() -> None:
        await revoke()
        given_up.set()

    with patch.object(consumer, "_revoke", watched):
        assert consumer._consumer is not None
        consumer._rejoin(consumer._consumer)
        async with asyncio.timeout(_SECONDS):
            await given_up.wait()


class Hands:
    """A handler that keeps what it is given until the test finishes it."""

    def __init__(self, output_topic: str) -> None:
        self.output_topic = output_topic
        self.records: list[ConsumerRecord[Any, Any]] = []
        self.lost: dict[TopicPartition, set[int]] = {}
        self.consumer: ExactlyOnceConsumer | None = None

    @property
    def places(self) -> list[tuple[int, int]]:
        return [(record.partition, record.offset) for record in self.records]

    @property
    def offsets(self) -> list[int]:
        return [record.offset for record in self.records]

    def on_record(self, record: ConsumerRecord[Any, Any]) -> None:
        self.records.append(record)

    def on_lost(self, partition: TopicPartition, offsets: Collection[int]) -> None:
        self.lost.setdefault(partition, set()).update(offsets)

    def finish(self, *offsets: int) -> None:
        """Finishes the given offsets, in this order, each with a copy of its record."""
        by_offset = {record.offset: record for record in self.records}
        self._answer(by_offset[offset] for offset in offsets)

    def finish_all(self) -> None:
        self._answer(self.records)

    def _answer(self, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        assert self.consumer is not None
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            output = Output(self.output_topic, record.value, key=record.value)
            self.consumer.finish(partition, record.offset, [output])


async def metadata(settings: KafkaSettings, group: str, topic: str) -> str:
    """What stands beside the group's offset on partition 0."""
    admin = AIOKafkaAdminClient(**settings.client_kwargs())
    await admin.start()
    try:
        partition = TopicPartition(topic, 0)
        found = await admin.list_consumer_group_offsets(group, partitions=[partition])
        return str(found[partition].metadata)
    finally:
        await admin.close()


@asynccontextmanager
async def member(
    settings: KafkaSettings,
    group: str,
    topic: str,
    hands: Hands,
    options: ConsumerOptions | None = None,
) -> AsyncIterator[ExactlyOnceConsumer]:
    """A member of the group, from its first assignment on; leaves what is unfinished."""
    consumer = ExactlyOnceConsumer(
        settings, group, topic, hands, options or ConsumerOptions(session_timeout=6.0)
    )
    hands.consumer = consumer
    running = asyncio.create_task(consumer.run())
    try:
        await eventually(lambda: running.done() or consumer.not_ready is None, "member ready")
        yield consumer
    finally:
        await consumer.stop(within=0.0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
