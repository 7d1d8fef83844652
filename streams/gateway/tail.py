"""Follows a topic from its end on, without a consumer group."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.kafka.consumers import fetching_failure, stop, topic_is_there
from streams.kafka.log_ranges import LogRanges
from streams.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 1.0

OnRecord = Callable[[bytes, bytes], None]
"""Called with key and value of each record; must not raise."""


class Tail:
    """What comes to some of a topic's partitions, or to all, while it is not paused."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        partitions: Collection[int],
        isolation: str,
    ) -> None:
        self.topic = topic
        self._settings = settings
        self._on_record: OnRecord = lambda key, value: None
        self._isolation = isolation
        self._partitions = [TopicPartition(topic, number) for number in sorted(partitions)]
        self._consumer: AIOKafkaConsumer | None = None
        self._ranges = LogRanges(settings, isolation)
        self._task: asyncio.Task[None] | None = None

    def listen(self, on_record: OnRecord) -> None:
        """Whom to give what comes."""
        self._on_record = on_record

    async def start(self) -> None:
        """Returns when all that comes from now on will be read. Raises: KafkaError."""
        await self.connect()
        await self.resume()

    async def connect(self) -> None:
        """Returns paused. Raises: KafkaError."""
        self._consumer = self._make_consumer()
        await self._consumer.start()
        await self._ranges.start()
        self._consumer.assign(self._partitions)
        self.pause()
        self._task = asyncio.create_task(self._follow(self._consumer), name="tail")

    async def resume(self) -> None:
        """Reads what comes from now on. Raises: KafkaError."""
        assert self._consumer is not None, "connect() comes first"
        begins = await self._ranges.ends(self._partitions)
        for partition, begin in begins.items():
            self._consumer.seek(partition, begin)
        self._consumer.resume(*self._partitions)

    def pause(self) -> None:
        """Reads nothing more for now."""
        assert self._consumer is not None, "connect() comes first"
        self._consumer.pause(*self._partitions)

    @property
    def topic_is_there(self) -> bool:
        """Whether the topic was still there when its metadata were read last."""
        assert self._consumer is not None, "connect() comes first"
        return topic_is_there(self._consumer, self.topic)

    @property
    def failure(self) -> BaseException | None:
        """What has ended the reading for good, if something has."""
        assert self._consumer is not None and self._task is not None, "connect() comes first"
        if self._task.done():
            return self._task.exception()
        return fetching_failure(self._consumer)

    async def stop(self) -> None:
        """Ends following. Raises what had ended it before."""
        try:
            if self._task is not None:
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
        finally:
            if self._consumer is not None:
                await stop(self._consumer)
            await self._ranges.stop()

    def _make_consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            isolation_level=self._isolation,
            enable_auto_commit=False,
            # Only where a topic was made anew: better some of it again than nothing.
            auto_offset_reset="earliest",
            **self._settings.client_kwargs(),
        )

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                fetched = await consumer.getmany(timeout_ms=5000)
            except KafkaError as error:
                log.warning("reading %s: %r; trying again", self._partitions, error)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for records in fetched.values():
                for record in records:
                    self._on_record(record.key or b"", record.value or b"")
