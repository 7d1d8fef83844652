"""Dead letters on a real broker: putting them there, and what has become of their originals."""

from collections import Counter
from collections.abc import Iterable, Sequence

from confluent_kafka import Message

from schemas.codec import Codec
from schemas.records import Origin
from schemas.topics import Topics
from streams.kafka.dead_letters.filter import Filter
from streams.kafka.dead_letters.letter import DeadLetter
from streams.kafka.dead_letters.reader import read_dead_letters
from streams.kafka.dead_letters.redrive import Plan, plan_redrive
from streams.kafka.dead_letters.writer import DeadLetterWriter
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import partition_for
from tests.integration.kafka.cluster import Cluster
from tests.unit.streams.kafka.dead_letters.factories import DEAD_SINCE, written


def put(cluster: Cluster, *outputs: Output) -> None:
    """Writes the records as they are, each to its key's partition."""
    for output in outputs:
        cluster.produce(
            output.topic,
            [output.value],
            partition=partition_for(output.key or b"", cluster.topics()[output.topic]),
            key=output.key,
            headers=output.headers,
        )


def dead_queries(topics: Topics, count: int) -> list[Output]:
    """Dead letters of unreadable queries, from offset 0 on, their numbers as values."""
    return [
        written(Origin(topics.queries, 0, number), value=str(number).encode(), topics=topics)
        for number in range(count)
    ]


async def read_all(settings: KafkaSettings) -> list[DeadLetter]:
    return await read_dead_letters(settings, Codec(), Filter().matches)


def writer(settings: KafkaSettings) -> DeadLetterWriter:
    return DeadLetterWriter(settings, Codec(), Filter().matches)


def planned(settings: KafkaSettings, letters: Iterable[DeadLetter], again: bool = False) -> Plan:
    limit = settings.max_record_bytes
    return plan_redrive(letters, settings.topics, max_bytes=limit, again=again)


async def redrive_all(settings: KafkaSettings) -> int:
    """What the command does with --all; how many were redriven."""
    async with writer(settings) as open_writer:
        ready = planned(settings, open_writer.letters).ready
        await open_writer.redrive(ready, DEAD_SINCE)
    return len(ready)


def values(messages: Sequence[Message]) -> Counter[bytes]:
    return Counter(message.value() or b"" for message in messages)
