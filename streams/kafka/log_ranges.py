"""Where partitions begin and end."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.kafka.consumers import stop
from streams.kafka.settings import KafkaSettings


class LogRanges:
    """Asks for them over a connection of its own; each question may raise KafkaError.

    On that of a consumer which fetches, a question waits behind the fetch, and the broker holds
    that back until there is something new: for 1.5 s as Faust fetches, with each partition that is
    taken over. Ends are those of what is committed, unless ``isolation`` says otherwise.
    """

    def __init__(self, settings: KafkaSettings, isolation: str = "read_committed") -> None:
        self._consumer = AIOKafkaConsumer(
            isolation_level=isolation, enable_auto_commit=False, **settings.client_kwargs()
        )

    async def start(self) -> None:
        """Connects. Raises: KafkaError; nothing is left open then."""
        try:
            await self._consumer.start()
        except KafkaError:
            await stop(self._consumer)
            raise

    async def stop(self) -> None:
        """Disconnects."""
        await stop(self._consumer)

    async def __aenter__(self) -> Self:
        """Connects. Raises: KafkaError."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnects."""
        await self.stop()

    async def of(self, partition: TopicPartition) -> tuple[int, int]:
        """Its first offset, and the one after its last."""
        await self._know([partition])
        starts = await self._consumer.beginning_offsets([partition])
        ends = await self._consumer.end_offsets([partition])
        return starts[partition], ends[partition]

    async def ends(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset after the last of each."""
        await self._know(partitions)
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(partitions)
        return ends

    async def since(
        self, time: datetime, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """The first offset from that time on of each; its end where there is none."""
        ends = await self.ends(partitions)
        milliseconds = int(time.timestamp() * 1000)
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds))
        return {
            partition: ends[partition] if (first := found.get(partition)) is None else first.offset
            for partition in partitions
        }

    async def _know(self, partitions: Collection[TopicPartition]) -> None:
        # Else aiokafka looks for one topic after the other, and waits 100 ms after each.
        for topic in {partition.topic for partition in partitions}:
            await self._consumer._client.add_topic(topic)
