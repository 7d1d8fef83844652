"""What a producer's initialisation makes of what its coordinator says of the last transaction."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.transaction import InitProducerIdRequest

from streams.kafka.settling import LastTransaction
from streams.kafka.transaction_state import DescribeTransactions

INITIALISED = object()


class Coordinator:
    """Answers as a broker does, as an aiokafka client hears it."""

    def __init__(self, code: int = 0, state: str = "", *, is_old: bool = False) -> None:
        self._code, self._state, self._is_old = code, state, is_old
        self.was_initialised = False

    async def send(self, node: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, DescribeTransactions):
            self.was_initialised = True
            return INITIALISED
        if self._is_old:
            raise IncompatibleBrokerVersion
        described = (self._code, "id", self._state, 0, 0, 1, 1, [], {})
        return SimpleNamespace(transaction_states=[described])


async def initialised(coordinator: Coordinator) -> tuple[bool | None, Any]:
    """What is known of the last transaction then, and the answer to the initialisation."""
    producer = SimpleNamespace(
        client=coordinator, _txn_manager=SimpleNamespace(transactional_id="id")
    )
    last = LastTransaction(producer)  # type: ignore[arg-type]
    answer = await producer.client.send(0, InitProducerIdRequest("id", 1000))
    return last.is_committed, answer


@pytest.mark.parametrize(
    ("state", "is_committed"),
    [
        ("PrepareCommit", True),
        ("CompleteCommit", True),
        ("Ongoing", False),
        ("PrepareAbort", False),
        ("CompleteAbort", False),
        ("PrepareEpochFence", False),
        ("Empty", None),
        ("Dead", None),
    ],
)
async def test_every_state_tells_how_the_transaction_ends(
    state: str, is_committed: bool | None
) -> None:
    assert await initialised(Coordinator(state=state)) == (is_committed, INITIALISED)


@pytest.mark.parametrize("coordinator", [Coordinator(105), Coordinator(is_old=True)])
async def test_an_id_nobody_used_and_a_broker_that_can_t_be_asked_are_initialised(
    coordinator: Coordinator,
) -> None:
    assert await initialised(coordinator) == (None, INITIALISED)


@pytest.mark.parametrize("code", [14, 15, 16, 53])
async def test_who_can_t_be_asked_now_is_not_initialised_either(code: int) -> None:
    coordinator = Coordinator(code)
    is_committed, answer = await initialised(coordinator)
    assert (is_committed, answer.error_code) == (None, code)
    assert not coordinator.was_initialised
