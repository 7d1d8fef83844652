"""Tells the others what this worker serves: a heartbeat on the workers topic."""

import asyncio
import logging
from collections.abc import Callable

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.codec import Codec
from schemas.records import WorkerState
from streams.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes the worker's state every so often, and once more when it ends."""

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        state: Callable[[], WorkerState],
        seconds: float,
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._state = state
        self._seconds = seconds
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Beats until cancelled."""
        while True:
            try:
                await self._beat(await self._started())
            except KafkaError as error:
                log.warning("a heartbeat was not written: %r", error)
            await asyncio.sleep(self._seconds)

    async def stop(self) -> None:
        """Writes the last state; `run` is cancelled already."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(2):
                await self._beat(producer)
                await producer.stop()
        except (KafkaError, TimeoutError) as error:
            log.warning("the last heartbeat was not written: %r", error)

    async def _started(self) -> AIOKafkaProducer:
        """The producer, made when the broker first is there. Raises: KafkaError."""
        if self._producer is None:
            settings = self._settings.client_kwargs()
            producer = AIOKafkaProducer(enable_idempotence=True, **settings)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _beat(self, producer: AIOKafkaProducer) -> None:
        state = self._state()
        await producer.send_and_wait(
            self._settings.topics.workers,
            self._codec.encode(state),
            key=state.worker_id.encode(),
        )
