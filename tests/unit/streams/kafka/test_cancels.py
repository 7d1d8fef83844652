"""Which queries were taken back, and how long that is remembered."""

import gc
import weakref

import pytest

from schemas.codec import Codec
from schemas.errors import Cancelled
from schemas.records import Cancel, Query
from streams.kafka.cancels import Cancellations, takes_back
from streams.kafka.settings import KafkaSettings

HOUR = 3600.0
NOBODYS, CLARAS, COVINAS = (Query(id="q", prompt="x", tenant=t) for t in (None, "clara", "covina"))


class Read:
    """Cancels that have been read, at times of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[tuple[Cancel, Cancelled]] = []
        self.cancellations = Cancellations(KafkaSettings(), Codec(), clock=lambda: self.now)
        self.cancellations.listen(lambda cancel, error: self.told.append((cancel, error)))

    def cancel(self, *cancels: Cancel) -> None:
        for cancel in cancels:
            self.cancellations._on_record("lorelay.cancels", b"", Codec().encode(cancel), 0)

    def is_cancelled(self, query: Query) -> bool:
        try:
            self.cancellations.check(query)
        except Cancelled:
            return True
        return False


# Its reader's client belongs to the loop that runs when it is made.
@pytest.fixture
async def read() -> Read:
    return Read()


async def test_a_cancel_is_remembered_for_an_hour(read: Read) -> None:
    read.cancel(Cancel("q"))
    read.now = HOUR - 1
    assert read.is_cancelled(NOBODYS)
    assert not read.is_cancelled(Query(id="another"))
    read.now = HOUR + 1
    assert not read.is_cancelled(NOBODYS)


async def test_the_hour_begins_anew_with_each_cancel(read: Read) -> None:
    read.cancel(Cancel("again"), Cancel("once"))
    read.now = HOUR - 1
    read.cancel(Cancel("again"))
    read.now = HOUR + 1
    assert read.is_cancelled(Query(id="again"))
    assert not read.is_cancelled(Query(id="once"))


async def test_what_is_forgotten_takes_no_memory(read: Read) -> None:
    read.cancel(*(Cancel(str(number)) for number in range(100)))
    read.now = HOUR + 1
    read.cancel(Cancel("last"))
    assert list(read.cancellations._known) == [("last", None)]


class Record:
    """Stands for a query of a megabyte."""


async def test_the_queries_that_were_cancelled_are_let_go_of(read: Read) -> None:
    held: list[weakref.ref[Record]] = []

    def ended_by(error: Cancelled | None) -> None:
        record = Record()
        held.append(weakref.ref(record))
        with pytest.raises(Cancelled):
            if error is not None:
                raise error
            read.cancellations.check(NOBODYS)

    read.cancel(Cancel("q"))
    ended_by(read.told.pop()[1])
    ended_by(None)
    gc.collect()
    assert [record() for record in held] == [None, None]


def cancelled(cancel: Cancel, query: Query) -> bool:
    """Whether it is, for one that comes after the cancel and one that is there already."""
    read = Read()
    read.cancel(cancel)
    ((heard, _),) = read.told
    is_cancelled = read.is_cancelled(query)
    assert takes_back(heard, query) == is_cancelled
    return is_cancelled


async def test_a_cancel_without_a_tenant_takes_back_every_query_of_its_id() -> None:
    assert all(cancelled(Cancel("q"), query) for query in (NOBODYS, CLARAS, COVINAS))
    assert not cancelled(Cancel("other"), CLARAS)
    assert not cancelled(Cancel("q"), Query(prompt="x"))


async def test_a_tenant_s_cancel_takes_back_his_query_alone() -> None:
    assert cancelled(Cancel("q", tenant="clara"), CLARAS)
    assert not any(cancelled(Cancel("q", tenant="clara"), query) for query in (NOBODYS, COVINAS))


async def test_a_tenant_s_cancel_leaves_one_of_all_as_it_was(read: Read) -> None:
    read.cancel(Cancel("q", "all of them"), Cancel("q", tenant="covina"))
    with pytest.raises(Cancelled, match="all of them"):
        read.cancellations.check(CLARAS)
