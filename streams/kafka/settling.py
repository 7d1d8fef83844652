"""How the last transaction of a transactional id ended, and its end made whole (KIP-664's question).

A lone broker that restarts in the midst of a commit may call it complete without having written
all its markers (seen with Kafka 4.4.0). Records without one become visible, or are dropped, with
whatever the same producer id ends next, and an offset without one is neither. What was decided
is in the coordinator's log, until the next initialisation: so it is asked before that.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    NodeNotReadyError,
    NoError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

#: Kafka's error code for an id that nobody has used, which aiokafka does not know.
_ID_NOT_FOUND: Final = 105
#: The coordinator's states, and whether the transaction is committed. One that is open is aborted
#: by the initialisation; those not named here have nothing to end.
_IS_COMMITTED: Final = {
    "Ongoing": False,
    "PrepareAbort": False,
    "PrepareEpochFence": False,
    "CompleteAbort": False,
    "PrepareCommit": True,
    "CompleteCommit": True,
}
_ENDED: Final = ("CompleteCommit", "CompleteAbort")
_AGAIN_SECONDS: Final = 0.003


class _Response(Response):
    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transaction_states",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", CompactString("utf-8")),
                ("transaction_state", CompactString("utf-8")),
                ("transaction_timeout_ms", Int32),
                ("transaction_start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(
                        ("topic", CompactString("utf-8")),
                        ("partitions", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _RequestV0(RequestStruct):
    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("transactional_ids", CompactArray(CompactString("utf-8"))), ("tags", TaggedFields)
    )


class DescribeTransactions(Request[_RequestV0]):
    """Asks a transaction coordinator for the state of an id's transaction."""

    API_KEY = 65

    def __init__(self, transactional_id: str) -> None:
        self._id = transactional_id

    def build(self, request_struct_class: type[_RequestV0]) -> _RequestV0:
        return request_struct_class([self._id], {})


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What a process still has to make whole: whether each input's last transaction is committed.

    ``topics`` are those that outputs go to.
    """

    topics: Collection[str] = ()
    is_committed: dict[TopicPartition, bool] = field(default_factory=dict)


class LastTransaction:
    """What the coordinator says of the id's last transaction, at each try to initialise ours.

    The last answer before an initialisation that succeeds is final: whoever begins another one in
    between makes it fail, and it is asked again. To be made before the producer starts.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        #: None where there was none, or another initialisation since, or the broker is too old.
        self.is_committed: bool | None = None
        self._producer = producer
        self._id: str = producer._txn_manager.transactional_id
        self._send = producer.client.send
        producer.client.send = self._asking

    async def _asking(self, node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, InitProducerIdRequest):
            self.is_committed = _IS_COMMITTED.get(await self._state(node))
        return await self._send(node, request, **options)

    async def _state(self, node: int) -> str:
        """Its state; empty where that is nobody's to tell. Raises: KafkaError."""
        question = DescribeTransactions(self._id)
        try:
            answer = await self._send(node, question, group=ConnectionGroup.COORDINATION)
        except IncompatibleBrokerVersion:
            return ""
        ((code, _, state, *_),) = answer.transaction_states
        error = None if code == _ID_NOT_FOUND else for_code(code)
        if error in {None, TransactionalIdAuthorizationFailed}:
            # The initialisation is refused as well, in words that aiokafka understands.
            return ""
        if error is not NoError:
            # It is loading, or the coordinator of this id no longer: aiokafka looks for it again.
            raise NodeNotReadyError(f"{self._id}: {error.__name__}")
        return str(state)

    async def repeat(self, is_committed: bool, partitions: Mapping[str, int], group: str) -> None:
        """Ends a transaction of everything in the same way, so that no marker is missing.

        ``partitions`` are how many each topic has. Returns when the markers are written.
        Raises: KafkaError, IllegalOperation, AssertionError.
        """
        producer, sender = self._producer, self._producer._sender
        await producer.begin_transaction()
        for topic, count in partitions.items():
            for number in range(count):
                producer._txn_manager.maybe_add_partition_to_txn(TopicPartition(topic, number))
        # No offset is named: those that wait for a marker are what is to be ended.
        while not await sender._do_add_offsets_to_txn(group):
            pass
        if not is_committed:
            await producer.abort_transaction()
            return
        await producer.commit_transaction()
        while await self._now() not in _ENDED:
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _now(self) -> str:
        sender = self._producer._sender
        node = await sender._find_coordinator(CoordinationType.TRANSACTION, self._id)
        try:
            return await self._state(node)
        except KafkaError:
            sender._coordinator_dead(CoordinationType.TRANSACTION)
            return ""
