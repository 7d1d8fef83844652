"""What aiokafka's consumers know and don't tell, and how they are stopped."""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError


def is_away(consumer: AIOKafkaConsumer) -> bool:
    """Whether its group's coordinator is being looked for: not found yet, or lost."""
    return consumer._coordinator is not None and consumer._coordinator.coordinator_id is None


def topic_is_there(consumer: AIOKafkaConsumer, topic: str) -> bool:
    """Whether the newest metadata holds the topic."""
    return bool(consumer._client.cluster.partitions_for_topic(topic))


def fetching_failure(consumer: AIOKafkaConsumer) -> BaseException | None:
    """What has ended its fetching, if something has: from then on it only ever returns nothing."""
    fetching = consumer._fetcher.error_future
    return fetching.exception() if fetching.done() and not fetching.cancelled() else None


async def stop(consumer: AIOKafkaConsumer) -> None:
    """Leaves the group and disconnects, whether the broker is there or not.

    While it is away aiokafka cancels a fetch that waits for it, and passes that on as though its
    caller had been cancelled; what had ended the fetching it raises. Neither time it disconnects.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled() or stopping.exception() is not None:
        await consumer._client.close()
    if not stopping.cancelled():
        with suppress(KafkaError):
            stopping.result()
