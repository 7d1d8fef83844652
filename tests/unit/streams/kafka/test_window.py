"""The offset window against a plain model of it."""

import contextlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka.window import (
    MAX_SPAN,
    METADATA_MAX_BYTES,
    Committed,
    MetadataInvalid,
    OffsetBeyondLog,
    OffsetWindow,
    decode_bitmap,
)

LOG_END = 1 << 40


@dataclass
class Log:
    """A partition: which of its offsets hold records, the rest being markers and aborted ones."""

    records: list[int]
    end: int


@st.composite
def logs(draw: st.DrawFn) -> Log:
    kinds = draw(st.lists(st.booleans(), min_size=1, max_size=200))
    base = draw(st.integers(0, 1000))
    return Log([base + i for i, is_record in enumerate(kinds) if is_record], base + len(kinds))


@dataclass
class Member:
    """A consumer of the log that works on records in any order and is killed at any time."""

    log: Log
    window: OffsetWindow
    running: set[int] = field(default_factory=set)

    def fetch(self, count: int) -> None:
        for offset in [o for o in self.log.records if o >= self.window.next_offset][:count]:
            if self.window.deliver(offset):
                self.running.add(offset)

    def finish(self, choice: int) -> int:
        offset = sorted(self.running)[choice % len(self.running)]
        self.running.discard(offset)
        self.window.finish(offset)
        return offset


@given(logs(), st.data())
@settings(max_examples=200)
def test_every_record_is_committed_exactly_once_whatever_is_killed(
    log: Log, data: st.DataObject
) -> None:
    committed: Committed | None = None
    written: list[int] = []
    member = Member(log, OffsetWindow.restore(None, 0, log.end)[0])
    unwritten: list[int] = []
    for _ in range(data.draw(st.integers(0, 60))):
        step = data.draw(st.sampled_from(["fetch", "finish", "finish", "commit", "kill"]))
        if step == "fetch":
            member.fetch(data.draw(st.integers(1, 40)))
        elif step == "finish" and member.running:
            unwritten.append(member.finish(data.draw(st.integers(0, 1000))))
        elif step == "commit":
            committed = member.window.committed()
            written += unwritten
            unwritten = []
        elif step == "kill":
            window, lost = OffsetWindow.restore(committed, 0, log.end)
            assert lost == 0
            member, unwritten = Member(log, window), []
    member.fetch(len(log.records))
    while member.running:
        unwritten.append(member.finish(0))
    written += unwritten
    assert sorted(written) == log.records
    if log.records:
        assert member.window.position == log.records[-1] + 1
        assert member.window.committed().metadata == ""


@given(st.integers(0, 10_000), st.sets(st.integers(0, MAX_SPAN - 1)))
def test_a_window_reads_back_as_it_was_written(position: int, finished: set[int]) -> None:
    window = OffsetWindow(position)
    for offset in range(position, position + max(finished, default=0) + 1):
        window.deliver(offset)
    for relative in finished:
        window.finish(position + relative)
    commit = window.committed()
    assert len(commit.metadata) <= METADATA_MAX_BYTES
    again, _ = OffsetWindow.restore(commit, 0, LOG_END)
    for relative in range(max(finished, default=0) + 1):
        is_open = position + relative >= commit.offset and relative not in finished
        assert again.deliver(position + relative) is is_open


def test_offsets_that_are_never_delivered_do_not_hold_the_position() -> None:
    window = OffsetWindow(10)
    assert window.deliver(10)
    assert window.deliver(15)
    window.finish(15)
    assert window.position == 10
    window.finish(10)
    assert window.position == 16


def test_a_window_is_full_only_behind_unfinished_work() -> None:
    window = OffsetWindow(0)
    assert window.fits(10 * MAX_SPAN)
    window.deliver(0)
    assert window.fits(MAX_SPAN - 1)
    assert not window.fits(MAX_SPAN)
    window.finish(0)
    assert window.fits(10 * MAX_SPAN)


def test_what_retention_deleted_is_counted_without_what_was_finished() -> None:
    window = OffsetWindow(0)
    for offset in range(10):
        window.deliver(offset)
    window.finish(3)
    restored, lost = OffsetWindow.restore(window.committed(), 5, 10)
    assert (restored.position, lost) == (5, 4)


def test_an_offset_past_the_log_is_refused() -> None:
    with pytest.raises(OffsetBeyondLog):
        OffsetWindow.restore(Committed(11), 0, 10)


@pytest.mark.parametrize("metadata", ["x", "b1:!", "b2:AAAA", "b1:AAA", "b1:äääa"])
def test_foreign_metadata_is_refused(metadata: str) -> None:
    with pytest.raises(MetadataInvalid):
        decode_bitmap(0, metadata)


@given(st.text(max_size=50))
def test_any_metadata_is_either_read_or_refused(metadata: str) -> None:
    with contextlib.suppress(MetadataInvalid):
        decode_bitmap(7, metadata)
