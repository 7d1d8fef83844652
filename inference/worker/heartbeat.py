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
        self._producer = AIOKafkaProducer(enable_idempotence=True, **self._settings.client_kwargs())
        await self._producer.start()
        while True:
            try:
                await self._beat(self._producer)
            except KafkaError as error:
                log.warning("a heartbeat was not written: %r", error)
            await asyncio.sleep(self._seconds)

    async def stop(self) -> None:
        """Writes the last state; `run` is cancelled already."""
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(2):
                await self._beat(self._producer)
                await self._producer.stop()
        except (KafkaError, TimeoutError) as error:
            log.warning("the last heartbeat was not written: %r", error)

    async def _beat(self, producer: AIOKafkaProducer) -> None:
        state = self._state()
        await producer.send_and_wait(
            self._settings.topics.workers,
            self._codec.encode(state),
            key=state.worker_id.encode(),
        )
