"""Which queries were taken back, and how long that is remembered."""

import pytest

from schemas.codec import Codec
from schemas.errors import Cancelled
from schemas.records import Cancel
from streams.kafka.cancels import Cancellations
from streams.kafka.settings import KafkaSettings

HOUR = 3600.0


class Read:
    """Cancels that have been read, at times of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self._cancellations = Cancellations(KafkaSettings(), Codec(), clock=lambda: self.now)

    def cancel(self, query_id: str) -> None:
        value = Codec().encode(Cancel(query_id))
        self._cancellations._on_record("lorelay.cancels", query_id.encode(), value, 0)

    def is_cancelled(self, query_id: str) -> bool:
        try:
            self._cancellations.check(query_id)
        except Cancelled:
            return True
        return False


# Its reader's client belongs to the loop that runs when it is made.
@pytest.fixture
async def read() -> Read:
    return Read()


async def test_a_cancel_is_remembered_for_an_hour(read: Read) -> None:
    read.cancel("q")
    read.now = HOUR - 1
    assert read.is_cancelled("q")
    assert not read.is_cancelled("another")
    read.now = HOUR + 1
    assert not read.is_cancelled("q")


async def test_the_hour_begins_anew_with_each_cancel(read: Read) -> None:
    read.cancel("again")
    read.cancel("once")
    read.now = HOUR - 1
    read.cancel("again")
    read.now = HOUR + 1
    assert read.is_cancelled("again")
    assert not read.is_cancelled("once")


async def test_what_is_forgotten_takes_no_memory(read: Read) -> None:
    for number in range(100):
        read.cancel(str(number))
    read.now = HOUR + 1
    read.cancel("last")
    assert list(read._cancellations._known) == ["last"]
