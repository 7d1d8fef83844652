"""DescribeTransactions (KIP-664), which aiokafka lacks: what a coordinator knows of an id."""

from typing import Final

from aiokafka.errors import KafkaError, NoError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
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


class _Described(Response):  # type: ignore[misc]
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


class _Describe(RequestStruct):  # type: ignore[misc]
    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Described
    SCHEMA = Schema(
        ("transactional_ids", CompactArray(CompactString("utf-8"))), ("tags", TaggedFields)
    )


class DescribeTransactions(Request[_Describe]):  # type: ignore[misc]
    """Asks the coordinator of one transactional id."""

    API_KEY = 65

    def __init__(self, transactional_id: str) -> None:
        self._id = transactional_id

    def build(self, request_struct_class: type[_Describe]) -> _Describe:
        """The request as it is sent."""
        return request_struct_class([self._id], {})


def state_in(answer: _Described) -> str | None:
    """The state of the id's transaction, as Kafka names it; None for an id that is not known.

    Raises: KafkaError.
    """
    ((code, _, state, *_),) = answer.transaction_states
    if code == _ID_NOT_FOUND:
        return None
    error: type[KafkaError] = for_code(code)
    if error is not NoError:
        raise error
    return str(state)
