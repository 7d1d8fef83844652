"""Reads the topic of dead letters to its end, once."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.codec import Codec
from schemas.errors import ConfigurationError
from streams.kafka.dead_letters.letter import DeadLetter, read_dead_letter
from streams.kafka.log_ranges import LogRanges
from streams.kafka.settings import KafkaSettings

_EARLIEST = datetime.min.replace(tzinfo=UTC)

#: Told, now and then, how many records have been read.
OnProgress = Callable[[int], None]


async def read_dead_letters(
    settings: KafkaSettings,
    codec: Codec,
    accepts: Callable[[DeadLetter], bool],
    on_progress: OnProgress = lambda _: None,
) -> list[DeadLetter]:
    """The dead letters that are there at the call and that `accepts`, the oldest first.

    Only those are held in memory. Raises: ConfigurationError where there is no such topic,
    KafkaError.
    """
    found: dict[tuple[int, bytes], DeadLetter] = {}
    count = 0
    async for records in _to_the_end(settings, settings.topics.dead_letters):
        for record in records:
            place = (record.partition, record.key or b"")
            letter = None if record.value is None else _letter(codec, record)
            if letter is not None and accepts(letter):
                found[place] = letter
            else:
                found.pop(place, None)
        count += len(records)
        on_progress(count)
    return sorted(found.values(), key=lambda letter: (letter.since or _EARLIEST, letter.key))


def _letter(codec: Codec, record: Any) -> DeadLetter:
    return read_dead_letter(
        codec,
        partition=record.partition,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


async def _to_the_end(settings: KafkaSettings, topic: str) -> AsyncIterator[Sequence[Any]]:
    """The committed records of the topic.

    The end is that of the log, not the last stable offset: behind a worker's open transaction
    may lie what an earlier redrive has committed, so that transaction's end is awaited.
    """
    async with _consumer(settings) as reading:
        if topic not in await reading.topics():
            raise ConfigurationError(
                f"The cluster at {settings.kafka} has no topic {topic}: "
                "`lorelay up` or `lorelay topics` creates it."
            )
        await reading._client.add_topic(topic)
        numbers = sorted(reading.partitions_for_topic(topic) or ())
        partitions = [TopicPartition(topic, number) for number in numbers]
        reading.assign(partitions)
        await reading.seek_to_beginning(*partitions)
        async with LogRanges(settings, "read_uncommitted") as ranges:
            ends = await ranges.ends(partitions)
        for partition in partitions:
            while await reading.position(partition) < ends[partition]:
                for records in (await reading.getmany(timeout_ms=200)).values():
                    yield records


@asynccontextmanager
async def _consumer(settings: KafkaSettings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
        **settings.client_kwargs(),
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
