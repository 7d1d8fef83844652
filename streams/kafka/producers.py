"""How aiokafka's producers are ended where the broker may not answer."""

import asyncio
import logging
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

log = logging.getLogger(__name__)


async def stop(producer: AIOKafkaProducer, seconds: float) -> None:
    """Sends what is under way and disconnects; what is not taken in that time is given up."""
    try:
        async with asyncio.timeout(seconds):
            await producer.stop()
    except (KafkaError, TimeoutError) as error:
        log.warning("what was still to be written is given up: %r", error)
        await abandon(producer)
        expect_errors(producer)
        producer._message_accumulator.fail_all(ProducerClosed())


async def abandon(producer: AIOKafkaProducer) -> None:
    """Ends a producer whose broker does not answer: by itself it would go on trying for ever."""
    sender = producer._sender.sender_task
    while sender is not None and not sender.done():
        # Each time it ends one of the requests that it waits for.
        sender.cancel()
        await asyncio.wait([sender], timeout=0.1)
    await producer.client.close()


def expect_error(future: "asyncio.Future[Any] | None") -> None:
    """Keeps asyncio from logging an error that is raised elsewhere, too, as never read."""
    if future is not None:
        future.add_done_callback(lambda done: done.cancelled() or done.exception())


def expect_errors(producer: AIOKafkaProducer) -> None:
    """The same for the futures in which a producer that has failed leaves its error unseen."""
    expect_error(producer._txn_manager.wait_for_transaction_end())
    for batches in producer._message_accumulator._batches.values():
        for batch in batches:
            expect_error(batch._drain_waiter)
