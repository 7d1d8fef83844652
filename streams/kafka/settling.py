"""How a transactional id's last transaction was to end, and that end made whole.

A lone broker that restarts in the midst of a commit may call it complete without having written
all its markers (seen with Kafka 4.4.0). Records without one end as the producer id's next
transaction does, and so does an offset. What was decided is in the coordinator's log until the
next initialisation, so the coordinator is asked before that.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    BrokerResponseError,
    IllegalOperation,
    IncompatibleBrokerVersion,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.transaction import InitProducerIdRequest, InitProducerIdResponse_v0

from streams.kafka.settings import TRANSACTION_PATIENCE_SECONDS
from streams.kafka.transaction_state import DescribeTransactions, state_in

#: Whether a transaction in this state is to be committed. An open one is aborted by the
#: initialisation; in the states that aren't named there is nothing to end.
_IS_COMMITTED: Final = {
    "Ongoing": False,
    "PrepareAbort": False,
    "PrepareEpochFence": False,
    "CompleteAbort": False,
    "PrepareCommit": True,
    "CompleteCommit": True,
}
_ENDING: Final = ("PrepareCommit", "PrepareAbort", "PrepareEpochFence")
#: On a local broker the markers are there after 1-3 ms.
_AGAIN_SECONDS: Final = 0.003


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Which transactions a process has yet to make whole, and whether they are committed.

    They are named by their input partition; ``topics`` are those that outputs go to.
    """

    topics: Collection[str] = ()
    is_committed: dict[TopicPartition, bool] = field(default_factory=dict)


class LastTransaction:
    """The id's last transaction before ours, as its coordinator has it.

    It is asked at every try to initialise, and the answer before the one that succeeds is final:
    a transaction that is open or about to end makes that fail. To be made before the producer
    starts; on a broker that can't be asked (before Kafka 3.0) nothing is known.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        #: None where there was none, or nothing came after the last initialisation.
        self.is_committed: bool | None = None
        self._producer = producer
        self._id: str = producer._txn_manager.transactional_id
        self._send = producer.client.send
        producer.client.send = self._asking

    async def repeat(
        self, is_committed: bool, topics: Collection[str], group: str | None = None
    ) -> None:
        """Ends it everywhere once more, by a transaction of ours that holds nothing.

        Everywhere is every partition of the topics that are there and may be written, and the
        group's offsets: the coordinator no longer knows which of them it was. Returns when the
        markers are written.

        Raises: KafkaError.
        """
        try:
            async with asyncio.timeout(TRANSACTION_PATIENCE_SECONDS):
                await self._repeat(is_committed, topics, group)
        except (TimeoutError, IllegalOperation, AssertionError) as error:
            # The latter two: aiokafka's state machine, after an error elsewhere in it.
            raise KafkaTimeoutError(f"the last transaction was not settled: {error!r}") from error

    async def _repeat(self, is_committed: bool, topics: Collection[str], group: str | None) -> None:
        producer = self._producer
        manager = producer._txn_manager
        partitions = await self._partitions(topics)
        await producer.begin_transaction()
        try:
            for partition in partitions:
                manager.maybe_add_partition_to_txn(partition)
            while manager.partitions_to_add():  # noqa: ASYNC110
                await asyncio.sleep(_AGAIN_SECONDS)
            if not manager.is_in_transaction():
                await manager.wait_for_transaction_end()
        except TopicAuthorizationFailedError as error:
            await producer.abort_transaction()
            return await self._repeat(is_committed, set(topics).difference(*error.args), group)
        # An offset that waits for its marker needs no other one to be committed with.
        while group and not await producer._sender._do_add_offsets_to_txn(group):
            pass
        if is_committed:
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
        while await self._is_ending():  # noqa: ASYNC110
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _asking(self, node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, InitProducerIdRequest):
            try:
                self.is_committed = _IS_COMMITTED.get(await self._state(node) or "")
            except IncompatibleBrokerVersion:
                self.is_committed = None
            except BrokerResponseError as error:
                # It still loads, or is not the coordinator: as if it had answered the other one.
                return InitProducerIdResponse_v0(0, error.errno, -1, -1)
        return await self._send(node, request, **options)

    async def _state(self, node: int) -> str | None:
        question = DescribeTransactions(self._id)
        return state_in(await self._send(node, question, group=ConnectionGroup.COORDINATION))

    async def _is_ending(self) -> bool:
        """Whether markers are still to be written; who has fenced us meanwhile saw to that."""
        sender = self._producer._sender
        node = await sender._find_coordinator(CoordinationType.TRANSACTION, self._id)
        try:
            return await self._state(node) in _ENDING
        except KafkaError:
            sender._coordinator_dead(CoordinationType.TRANSACTION)
            return True

    async def _partitions(self, topics: Collection[str]) -> list[TopicPartition]:
        client = self._producer.client
        for topic in topics:
            client.add_topic(topic)
        await client.force_metadata_update()
        return [
            TopicPartition(topic, number)
            for topic in topics
            for number in client.cluster.partitions_for_topic(topic) or ()
        ]
