"""`python -m ... ADDRESS GROUP SOURCE TARGET`: one owner of every partition of SOURCE.

Each transaction commits the next three offsets and writes a record for each, `PARTITION:OFFSET`,
until the process is killed. Every time that all partitions have been taken over and have committed
since, there is a line on standard output.
"""

import asyncio
import logging
import sys

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.settings import KafkaSettings
from streams.kafka.settling import Unsettled
from streams.kafka.transactions import OwnershipLost, PartitionTransactions
from streams.kafka.window import Committed
from tests.kafka_admin import running_admin

PARTITIONS, TARGETS = 8, 4


class Owner:
    """Commits for ever in one input partition, and takes it over anew where it has to."""

    def __init__(self, settings: KafkaSettings, group: str, topic: str, unsettled: Unsettled):
        self._settings = settings
        self._group = group
        self._topic = topic
        self._unsettled = unsettled
        self.is_at_it = asyncio.Event()

    async def run(self, partition: int, target: str) -> None:
        limits = SizeLimits(self._settings.max_record_bytes)
        place = TopicPartition(self._topic, partition)
        while True:
            owner = PartitionTransactions(
                self._settings, self._group, place, limits, self._unsettled
            )
            try:
                async with running_admin(self._settings) as asked:
                    committed = await owner.initialise(asked)
                await self._commit(owner, target, partition, committed)
            except (KafkaError, OwnershipLost):
                self.is_at_it.clear()
                await owner.close()
                await asyncio.sleep(0.2)

    async def _commit(
        self,
        owner: PartitionTransactions,
        target: str,
        partition: int,
        committed: Committed | None,
    ) -> None:
        done = committed.offset if committed else 0
        while True:
            outputs = [
                Output(target, f"{partition}:{offset}".encode(), partition=offset % TARGETS)
                for offset in range(done, done + 3)
            ]
            done += len(outputs)
            await owner.commit(outputs, Committed(done))
            self.is_at_it.set()


async def main(address: str, group: str, source: str, target: str) -> None:
    """Until it is killed."""
    settings = KafkaSettings(kafka=address)
    unsettled = Unsettled([target])
    owners = [Owner(settings, group, source, unsettled) for _ in range(PARTITIONS)]
    async with asyncio.TaskGroup() as tasks:
        for partition, owner in enumerate(owners):
            tasks.create_task(owner.run(partition, target))
        while True:
            for owner in owners:
                await owner.is_at_it.wait()
            print("at it", flush=True)
            while all(owner.is_at_it.is_set() for owner in owners):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(main(*sys.argv[1:]))
