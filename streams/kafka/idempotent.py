"""A producer that writes each record once, and goes on after one was refused."""

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from streams.kafka.output import Headers
from streams.kafka.producers import stop
from streams.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

#: How long a producer may take to send what is left.
_STOP_SECONDS = 5.0


class IdempotentProducer:
    """Writes without transactions; ``options`` are aiokafka's.

    The numbers of its batches are out of step with the broker's for good once one of them was
    refused, or found no leader for as long as a request may take: all that follows would be
    refused, too (KIP-98). So another producer takes the place of one that has failed.
    """

    def __init__(self, settings: KafkaSettings, **options: Any) -> None:
        self._options = settings.client_kwargs() | options
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_started(self) -> bool:
        """Whether it may be written to."""
        return self._producer is not None

    async def start(self) -> None:
        """Connects. Raises: KafkaError."""
        self._producer = await self._connected()

    async def stop(self) -> None:
        """Sends what is left, if that can be soon, and disconnects."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop(producer, _STOP_SECONDS)
        # Another one may be on its way from a broker that doesn't answer.
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()

    async def send(self, topic: str, value: bytes, key: bytes, headers: Headers = ()) -> None:
        """Queues a record, and waits only while there is no room; a warning tells of its loss.

        Raises: KafkaError where it can't even be queued.
        """
        producer = self._live()
        try:
            sent = await producer.send(topic, value, key, headers=list(headers))
        except KafkaError:
            self._begin(self._renew(producer))
            raise
        sent.add_done_callback(partial(self._look, producer))

    async def send_and_wait(
        self, topic: str, value: bytes, key: bytes, headers: Headers = ()
    ) -> RecordMetadata:
        """Returns when the record is written. Raises: KafkaError."""
        producer = self._live()
        try:
            return await producer.send_and_wait(topic, value, key, headers=list(headers))
        except KafkaError:
            await self._renew(producer)
            raise

    async def reaches_kafka(self) -> bool:
        """Whether a broker answers."""
        return bool(await self._live().client.force_metadata_update())

    def look_up(self, topic: str) -> None:
        """Asks where the topic is, before anything is written to it."""
        self._live().client.add_topic(topic)

    async def partitions_for(self, topic: str) -> set[int]:
        """The topic's partitions. Raises: KafkaError."""
        return set(await self._live().partitions_for(topic))

    def _live(self) -> AIOKafkaProducer:
        assert self._producer is not None, "start() comes first"
        return self._producer

    def _look(self, producer: AIOKafkaProducer, sent: asyncio.Future[RecordMetadata]) -> None:
        if not sent.cancelled() and (error := sent.exception()) is not None:
            log.warning("a record was not written: %r", error)
            self._begin(self._renew(producer))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self, failed: AIOKafkaProducer) -> None:
        async with self._renewing:
            if self._producer is not failed:
                return
            try:
                renewed = await self._connected()
            except KafkaError as error:
                log.warning("no other producer can be had yet: %r", error)
                return
            if self._producer is failed:
                self._producer = renewed
                self._begin(stop(failed, _STOP_SECONDS))
            else:  # stopped meanwhile
                await stop(renewed, _STOP_SECONDS)

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(enable_idempotence=True, **self._options)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer
