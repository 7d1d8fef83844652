"""Tells the others what this worker serves: a heartbeat on the workers topic."""

import asyncio
import logging
from collections.abc import Callable

from aiokafka.errors import KafkaError

from schemas.codec import Codec
from schemas.records import WorkerState
from streams.kafka.idempotent import IdempotentProducer
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
        self._topic = settings.topics.workers
        self._codec = codec
        self._state = state
        self._seconds = seconds
        self._producer = IdempotentProducer(settings)

    async def run(self) -> None:
        """Beats until cancelled, as soon as the broker is there."""
        while True:
            try:
                if not self._producer.is_started:
                    await self._producer.start()
                await self._beat()
            except KafkaError as error:
                log.warning("a heartbeat was not written: %r", error)
            await asyncio.sleep(self._seconds)

    async def stop(self) -> None:
        """Writes the last state; `run` is cancelled already."""
        if not self._producer.is_started:
            return
        try:
            async with asyncio.timeout(2):
                await self._beat()
        except (KafkaError, TimeoutError) as error:
            log.warning("the last heartbeat was not written: %r", error)
        await self._producer.stop()

    async def _beat(self) -> None:
        state = self._state()
        value, key = self._codec.encode(state), state.worker_id.encode()
        await self._producer.send_and_wait(self._topic, value, key)
