"""Exactly-once consume-and-produce over one input partition (KIP-98, KIP-447's fencing by hand).

One transactional producer per input partition and assignment. Initialising it (InitProducerId)
is what fences the previous owner: aiokafka's TxnOffsetCommit carries no generation. So the order
is always: be assigned, initialise, and only then read the committed offset.
"""

import asyncio
import logging
from collections.abc import Sequence

import aiokafka.producer.sender
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    ProducerFenced,
)
from aiokafka.partitioner import murmur2
from aiokafka.structs import OffsetAndMetadata

from streams.kafka.output import Output, check_sizes
from streams.kafka.settings import TRANSACTION_TIMEOUT_MS, KafkaSettings
from streams.kafka.window import Committed

log = logging.getLogger(__name__)

# aiokafka waits a fixed 20 ms before it asks again whether the previous transaction's markers
# are written; on a local broker they are there after 1-3 ms.
aiokafka.producer.sender.BACKOFF_OVERRIDE = 0.003


#: What a record batch adds to its records, generously.
_FRAME_BYTES = 2048


class OwnershipLost(Exception):
    """This owner of the partition must write nothing more until it is assigned anew."""


class Fenced(OwnershipLost):
    """Another owner has initialised the same transactional id."""


class OutcomeUnknown(OwnershipLost):
    """The transaction may or may not be committed: only a new initialisation tells."""


def transactional_id(group: str, partition: TopicPartition) -> str:
    """The id that all owners of an input partition share, so that each fences the last one."""
    return f"{group}-{partition.topic}-{partition.partition}"


def partition_for(key: bytes, partitions: int) -> int:
    """The partition that Kafka's own clients choose for a key (murmur2)."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class PartitionTransactions:
    """The transactional producer of one input partition during one assignment."""

    def __init__(self, settings: KafkaSettings, group: str, partition: TopicPartition) -> None:
        self._settings = settings
        self._group = group
        self._partition = partition
        self._producer: AIOKafkaProducer | None = None
        self._keyless = 0

    async def initialise(self, admin: AIOKafkaAdminClient) -> Committed | None:
        """Fences earlier owners, then reads what they committed; None where nobody did.

        An earlier owner's open transaction is aborted by this, one that is being committed is
        waited for: what is read afterwards is final.
        """
        self._producer = AIOKafkaProducer(
            transactional_id=transactional_id(self._group, self._partition),
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_request_size=self._settings.max_record_bytes + _FRAME_BYTES,
            max_batch_size=self._settings.max_record_bytes + _FRAME_BYTES,
            **self._settings.client_kwargs(),
        )
        await self._producer.start()
        offsets = await admin.list_consumer_group_offsets(self._group, partitions=[self._partition])
        found = offsets.get(self._partition)
        if found is None or found.offset < 0:
            return None
        return Committed(found.offset, found.metadata or "")

    async def commit(self, outputs: Sequence[Output], committed: Committed) -> None:
        """Produces the outputs and commits the input's offset, both or neither.

        Raises: RecordTooLarge before anything is sent; Fenced, OutcomeUnknown: this object is
        of no use any more.
        """
        if self._producer is None:
            raise OutcomeUnknown("the producer was never initialised")
        check_sizes(outputs, self._settings.max_record_bytes)
        offsets = {self._partition: OffsetAndMetadata(committed.offset, committed.metadata)}
        try:
            await self._producer.begin_transaction()
            deliveries = await self._send(self._producer, outputs)
            await self._producer.send_offsets_to_transaction(offsets, self._group)
            # aiokafka commits a transaction although a batch of it was refused: look first.
            for delivery in deliveries:
                await delivery
            await self._producer.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise Fenced(f"{self._partition}: another owner took over") from error
        except (KafkaError, AssertionError) as error:
            # AssertionError: aiokafka's state machine, after an error elsewhere in it.
            raise OutcomeUnknown(f"{self._partition}: {error!r}") from error

    async def close(self) -> None:
        """Stops the producer; an open transaction is left to the next owner to abort."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            await asyncio.wait_for(producer.stop(), timeout=5)
        except (KafkaError, TimeoutError) as error:
            log.warning("%s: producer did not stop cleanly: %r", self._partition, error)

    async def _send(
        self, producer: AIOKafkaProducer, outputs: Sequence[Output]
    ) -> list["asyncio.Future[object]"]:
        """Builds one batch per output partition: a third of the CPU of a send() per record."""
        counts = {
            topic: len(await producer.partitions_for(topic))
            for topic in {output.topic for output in outputs}
        }
        deliveries = []
        batches: dict[tuple[str, int], object] = {}
        for output in outputs:
            target = (output.topic, self._target_partition(output, counts[output.topic]))
            batch = batches.get(target)
            if batch is None or not self._append(batch, output):
                if batch is not None:
                    deliveries.append(await self._submit(producer, batch, target))
                batch = batches[target] = producer.create_batch()
                self._append(batch, output)
        for target, batch in batches.items():
            deliveries.append(await self._submit(producer, batch, target))
        return deliveries

    def _target_partition(self, output: Output, partitions: int) -> int:
        if output.partition is not None:
            return output.partition
        if output.key is None:
            self._keyless += 1
            return self._keyless % partitions
        return partition_for(output.key, partitions)

    @staticmethod
    def _append(batch: object, output: Output) -> bool:
        appended = batch.append(  # type: ignore[attr-defined]
            timestamp=None, key=output.key, value=output.value, headers=list(output.headers)
        )
        return appended is not None

    @staticmethod
    async def _submit(
        producer: AIOKafkaProducer, batch: object, target: tuple[str, int]
    ) -> "asyncio.Future[object]":
        batch.close()  # type: ignore[attr-defined]
        future: asyncio.Future[object] = await producer.send_batch(
            batch, target[0], partition=target[1]
        )
        # An error is read in commit(), or lost with the transaction that failed before it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future
