"""What an earlier run of a batch has asked already, and what was answered."""

from collections.abc import Collection
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.errors import DecodeError
from schemas.records import Response
from streams.kafka.consumers import stop
from streams.kafka.settings import KafkaSettings
from streams.kafka.writer_schemas import WriterSchemas


async def earlier_answers(
    settings: KafkaSettings, schemas: WriterSchemas, wanted: Collection[str], since: datetime
) -> tuple[dict[str, Response | DecodeError], set[str]]:
    """The newest response to each of these ids, or why it can't be read; and which of them were
    asked at all.

    Reads both topics from that time to their present ends. Raises: KafkaError.
    """
    if not wanted:
        return {}, set()
    keys = {name.encode(): name for name in wanted}
    async with AsyncExitStack() as stack:
        consumer = AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **settings.client_kwargs(),
        )
        stack.push_async_callback(stop, consumer)
        await consumer.start()
        asked = await _read(consumer, settings.topics.queries, since, keys)
        answered = await _read(consumer, settings.topics.responses, since, keys)
    answers = {name: await _response(schemas, value or b"") for name, value in answered.items()}
    return answers, set(asked)


async def _response(schemas: WriterSchemas, value: bytes) -> Response | DecodeError:
    try:
        return await schemas.decode(Response, value)
    except DecodeError as error:
        return error


async def _read(
    consumer: AIOKafkaConsumer, topic: str, since: datetime, keys: dict[bytes, str]
) -> dict[str, bytes | None]:
    """The newest record from that time on for each of the keys."""
    await consumer._client.add_topic(topic)
    numbers = consumer.partitions_for_topic(topic) or set()
    places = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(places)
    asked = dict.fromkeys(places, int(since.timestamp() * 1000))
    firsts = await consumer.offsets_for_times(asked)
    ends = await consumer.end_offsets(places)
    for place in places:
        first = firsts[place]
        consumer.seek(place, ends[place] if first is None else first.offset)
    found: dict[str, bytes | None] = {}
    for place in places:
        while await consumer.position(place) < ends[place]:
            fetched = await consumer.getmany(timeout_ms=200)
            for records in fetched.values():
                found |= {
                    name: record.value
                    for record in records
                    if (name := _name(record, keys)) is not None
                }
    return found


def _name(record: Any, keys: dict[bytes, str]) -> str | None:
    """The wanted id that the record is of; a query with a session has that for its key."""
    if (name := keys.get(record.key or b"")) is not None:
        return name
    ids = (keys.get(value or b"") for header, value in record.headers if header == "ce_id")
    return next((name for name in ids if name is not None), None)
