"""Exactly-once consume-and-produce over one input partition (KIP-98, KIP-447's fencing by hand).

One transactional producer per input partition and assignment. Initialising it (InitProducerId)
is what fences the previous owner: aiokafka's TxnOffsetCommit carries no generation. So the order
is always: be assigned, initialise, and only then read the committed offset.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import aiokafka.producer.sender
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
)
from aiokafka.partitioner import murmur2
from aiokafka.structs import OffsetAndMetadata, RecordMetadata

from schemas.topics import LONGEST_NAME
from streams.kafka.doubt import Doubt
from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.producers import abandon, expect_error, expect_errors
from streams.kafka.settings import (
    TRANSACTION_PATIENCE_SECONDS,
    TRANSACTION_TIMEOUT_MS,
    KafkaSettings,
)
from streams.kafka.settling import LastTransaction, Unsettled
from streams.kafka.window import Committed

log = logging.getLogger(__name__)

# aiokafka waits a fixed 20 ms before it asks again whether the previous transaction's markers
# are written; on a local broker they are there after 1-3 ms.
aiokafka.producer.sender.BACKOFF_OVERRIDE = 0.003


#: Now and then the broker can't verify yet that a batch belongs to a transaction that has just
#: begun, and has it sent again: aiokafka's 100 ms before that were all of the slowest percent.
_RETRY_BACKOFF_MS = 20

#: What a record batch adds to its records, generously.
_FRAME_BYTES = 2048
#: How long a topic that does not exist is not asked for again.
_ABSENT_SECONDS = 30.0
#: How long a producer may take to end in good order.
_STOP_SECONDS = 5.0


class TopicMissing(Exception):
    """An output's topic is not there; nothing was begun, so the same may be tried again."""


class OwnershipLost(Exception):
    """This owner of the partition must write nothing more until it is assigned anew."""


class Fenced(OwnershipLost):
    """Another owner has initialised the same transactional id."""


class OutcomeUnknown(OwnershipLost):
    """The transaction may or may not be committed: only a new initialisation tells."""


class Refused(OwnershipLost):
    """A batch was too large for its topic, so nothing is committed; the limits know it now.

    The producer's numbers of that partition are out of step with the broker's: only a new
    initialisation brings them together.
    """


@dataclass(slots=True)
class _Batch:
    """Records for one partition of an output topic; `size` is theirs, in bytes."""

    target: TopicPartition
    builder: Any
    size: int = 0

    def append(self, output: Output) -> bool:
        """False where there is no room left."""
        appended = self.builder.append(
            timestamp=output.timestamp_ms,
            key=output.key,
            value=output.value,
            headers=list(output.headers),
        )
        if appended is None:
            return False
        self.size += output.size
        return True


def transactional_id(group: str, partition: TopicPartition) -> str:
    """The id that all owners of an input partition share, so that each fences the last one."""
    return f"{group}-{partition.topic}-{partition.partition}"


def partition_for(key: bytes, partitions: int) -> int:
    """The partition that Kafka's own clients choose for a key (murmur2)."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class PartitionTransactions:
    """The transactional producer of one input partition during one assignment.

    ``unsettled`` is this process's; without it, of an earlier owner's transaction the offset alone
    is settled.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        partition: TopicPartition,
        limits: SizeLimits,
        unsettled: Unsettled | None = None,
    ) -> None:
        self._settings = settings
        self._unsettled = unsettled or Unsettled()
        self._limits = limits
        self._group = group
        self._partition = partition
        self._producer: AIOKafkaProducer | None = None
        self._doubt: Doubt | None = None
        self._keyless = 0
        self._absent: dict[str, float] = {}

    async def initialise(self, admin: AIOKafkaAdminClient) -> Committed | None:
        """Fences earlier owners, then reads what they committed; None where nobody did.

        An earlier owner's open transaction is aborted by this, one that is being committed is
        waited for: what is read afterwards is final.

        Raises: KafkaError.
        """
        self._producer = AIOKafkaProducer(
            transactional_id=transactional_id(self._group, self._partition),
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            retry_backoff_ms=_RETRY_BACKOFF_MS,
            max_request_size=self._settings.max_record_bytes + _FRAME_BYTES,
            max_batch_size=self._settings.max_record_bytes + _FRAME_BYTES,
            **self._settings.client_kwargs(),
        )
        last = LastTransaction(self._producer)
        try:
            async with asyncio.timeout(TRANSACTION_PATIENCE_SECONDS):
                await self._producer.start()
        except TimeoutError as error:
            raise KafkaTimeoutError("no producer could be initialised") from error
        self._doubt = Doubt(self._producer)
        await self._settle(last)
        return await self._committed(admin)

    async def _committed(self, admin: AIOKafkaAdminClient) -> Committed | None:
        offsets = await admin.list_consumer_group_offsets(self._group, partitions=[self._partition])
        found = offsets.get(self._partition)
        if found is None:
            # aiokafka passes over the error of the whole answer, as a coordinator gives it that
            # is still loading, or is none any more; where nothing is committed it says so.
            raise GroupCoordinatorNotAvailableError(self._group)
        if found.offset < 0:
            return None
        return Committed(found.offset, found.metadata or "")

    async def _settle(self, last: LastTransaction) -> None:
        """Makes the last transaction whole, whoever made it, should a broker have half ended it.

        Raises: KafkaError.
        """
        due = self._unsettled.is_committed
        if last.is_committed is not None:
            due[self._partition] = last.is_committed
        if (is_committed := due.get(self._partition)) is None:
            return
        await last.repeat(is_committed, self._unsettled.topics, self._group)
        if self._doubt is not None and self._doubt.is_cast:
            raise KafkaConnectionError("a request was sent twice while that was settled")
        del due[self._partition]

    async def commit(self, outputs: Sequence[Output], committed: Committed) -> None:
        """Produces the outputs and commits the input's offset, both or neither.

        Raises: RecordTooLarge or TopicMissing before anything is sent; Fenced, Refused,
        OutcomeUnknown: this object is of no use any more.
        """
        if self._producer is None or self._doubt is None or self._doubt.is_cast:
            raise OutcomeUnknown(f"{self._partition}: the producer is of no use")
        self._limits.check(outputs)
        try:
            async with asyncio.timeout(TRANSACTION_PATIENCE_SECONDS):
                await self._commit(self._producer, outputs, committed)
        except TimeoutError as error:
            raise OutcomeUnknown(
                f"{self._partition}: no outcome within {TRANSACTION_PATIENCE_SECONDS:.0f} s"
            ) from error
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise Fenced(f"{self._partition}: another owner took over") from error
        except (KafkaError, IllegalOperation, AssertionError) as error:
            # The latter two: aiokafka's state machine, after an error elsewhere in it.
            raise OutcomeUnknown(f"{self._partition}: {error!r}") from error
        if self._doubt.is_cast:
            raise OutcomeUnknown(f"{self._partition}: a request was sent twice")

    async def _commit(
        self,
        producer: AIOKafkaProducer,
        outputs: Sequence[Output],
        committed: Committed,
    ) -> None:
        # Before the transaction begins: looking for a topic that is not there takes time.
        counts = await self._partitions({output.topic for output in outputs})
        batches = self._batches(
            [output for output in outputs if _has_target(output, counts)], counts
        )
        offset = OffsetAndMetadata(committed.offset, committed.metadata)
        await producer.begin_transaction()
        deliveries = [(batch, await self._submit(producer, batch)) for batch in batches]
        await producer.send_offsets_to_transaction({self._partition: offset}, self._group)
        # aiokafka commits a transaction although a batch of it was refused: look first.
        for batch, delivery in deliveries:
            try:
                await delivery
            except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                topic, records = batch.target.topic, batch.builder.record_count()
                self._limits.refused(topic, records, batch.size)
                raise Refused(
                    f"{self._partition}: {topic} does not take a batch of {records} records "
                    f"and {batch.size:,} bytes"
                ) from error
        await producer.commit_transaction()

    async def close(self) -> None:
        """Stops the producer; an open transaction is left to the next owner to abort."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        expect_errors(producer)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await producer.stop()
        except Exception as error:  # whatever it is: what this partition had is to be kept
            log.warning("%s: producer did not stop cleanly: %r", self._partition, error)
            await abandon(producer)

    async def _partitions(self, topics: Collection[str]) -> dict[str, int]:
        """How many partitions each topic has; 0 where it does not exist."""
        assert self._producer is not None
        client = self._producer.client
        now = monotonic()
        self._absent = {topic: until for topic, until in self._absent.items() if until >= now}
        asked = {
            topic
            for topic in topics
            if client.cluster.partitions_for_topic(topic) is None
            and topic not in self._absent
            and len(topic) <= LONGEST_NAME
        }
        if asked:
            # An update that is under way is about other topics, and would be taken for ours.
            await client._maybe_wait_metadata()
            # All at once: a cluster that is asked one by one takes its time for each.
            client._topics.update(asked)
            await client.force_metadata_update()
            for topic in asked:
                if client.cluster.partitions_for_topic(topic) is None:
                    self._absent[topic] = now + _ABSENT_SECONDS
                    # Nor is it asked for with every update from now on.
                    client._topics.discard(topic)
        return {topic: len(client.cluster.partitions_for_topic(topic) or ()) for topic in topics}

    def _batches(self, outputs: Sequence[Output], counts: Mapping[str, int]) -> list[_Batch]:
        """Full batches by output partition: a third of the CPU of a `send()` per record."""
        assert self._producer is not None
        batches: list[_Batch] = []
        open_batches: dict[TopicPartition, _Batch] = {}
        for output in outputs:
            target = self._target(output, counts)
            batch = open_batches.get(target)
            is_full = batch and batch.size + output.size > self._limits.batch(target.topic)
            if batch is None or is_full or not batch.append(output):
                batch = open_batches[target] = _Batch(target, self._producer.create_batch())
                batches.append(batch)
                batch.append(output)
        return batches

    def _target(self, output: Output, counts: Mapping[str, int]) -> TopicPartition:
        count = counts[output.topic]
        if count == 0:
            self._absent.pop(output.topic, None)
            raise TopicMissing(output.topic)
        if output.partition is not None:
            return TopicPartition(output.topic, output.partition)
        if output.key is None:
            self._keyless += 1
            return TopicPartition(output.topic, self._keyless % count)
        return TopicPartition(output.topic, partition_for(output.key, count))

    @staticmethod
    async def _submit(
        producer: AIOKafkaProducer, batch: _Batch
    ) -> "asyncio.Future[RecordMetadata]":
        batch.builder.close()
        future: asyncio.Future[RecordMetadata] = await producer.send_batch(
            batch.builder, batch.target.topic, partition=batch.target.partition
        )
        # An error is read in commit(), or lost with the transaction that failed before it.
        expect_error(future)
        return future


def _has_target(output: Output, counts: Mapping[str, int]) -> bool:
    count = counts[output.topic]
    if not output.is_optional or 0 <= (output.partition or 0) < count:
        return True
    log.warning("there is no partition %s of %s to write to", output.partition, output.topic)
    return False
