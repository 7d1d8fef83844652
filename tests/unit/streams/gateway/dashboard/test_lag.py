"""What a group has yet to finish, counted in records."""

from hypothesis import given
from hypothesis import strategies as st

from streams.gateway.dashboard.lag import Backlog
from streams.kafka.window import Committed, OffsetWindow


def backlog(*offsets: int, begin: int = 0, log_start: int = 0) -> Backlog:
    made = Backlog(begin, log_start)
    for offset in offsets:
        made.see(offset)
    return made


def test_markers_of_transactions_are_no_records() -> None:
    waiting = backlog(0, 2, 4)
    assert waiting.records == 3
    waiting.commit(Committed(3))
    assert waiting.records == 1
    waiting.commit(Committed(5))
    assert waiting.records == 0


def test_what_was_not_read_counts_by_its_offsets() -> None:
    waiting = backlog(100, 101, begin=100, log_start=40)
    assert waiting.records == 62
    waiting.commit(Committed(90))
    assert waiting.records == 12
    waiting.commit(Committed(101))
    assert waiting.records == 1


def test_what_is_left_out_counts_by_its_offsets() -> None:
    waiting = backlog(0, 1)
    waiting.skip(5_000)
    waiting.see(5_000)
    assert waiting.records == 5_001


def test_metadata_of_others_is_no_bitmap() -> None:
    waiting = backlog(0, 1)
    waiting.commit(Committed(0, "theirs"))
    assert waiting.records == 2


@given(st.sets(st.integers(0, 60)), st.data())
def test_what_is_finished_out_of_order_is_finished(offsets: set[int], data: st.DataObject) -> None:
    finished = data.draw(st.sets(st.sampled_from(sorted(offsets)))) if offsets else set()
    window = OffsetWindow()
    for offset in sorted(offsets):
        window.deliver(offset)
    for offset in finished:
        window.finish(offset)
    waiting = backlog(*sorted(offsets))
    waiting.commit(window.committed())
    assert waiting.records == len(offsets - finished)
