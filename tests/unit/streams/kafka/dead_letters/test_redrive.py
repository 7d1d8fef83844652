"""What redriving and purging write."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Origin
from schemas.topics import MAX_RECORD_BYTES
from streams.kafka.dead_letters.letter import DeadLetter
from streams.kafka.dead_letters.redrive import (
    Plan,
    batches,
    marked,
    plan_redrive,
    redriven,
    tombstone,
)
from tests.unit.streams.kafka.dead_letters.factories import DEAD_SINCE, TOPICS, letter, read

NOW = DEAD_SINCE + timedelta(hours=1)
SIZES = st.lists(st.integers(0, 3 * 1024 * 1024), max_size=8)


def plan(*letters: DeadLetter, again: bool = False) -> Plan:
    return plan_redrive(letters, TOPICS, max_bytes=MAX_RECORD_BYTES, again=again)


def once_redriven(found: DeadLetter) -> DeadLetter:
    return read(marked(found, TOPICS.dead_letters, NOW))


class TestTheRedrivenRecord:
    def test_it_is_the_original_and_names_its_dead_letter(self) -> None:
        output = redriven(letter(), TOPICS.queries, b"value")
        assert (output.topic, output.key, output.value) == (TOPICS.queries, b"session-1", b"value")
        assert output.headers == [
            ("traceparent", b"00-1-2-01"),
            ("lorelay.redriven.from", b"lorelay.queries/1/41"),
            ("lorelay.redriven.count", b"1"),
        ]
        assert (output.partition, output.timestamp_ms) == (None, None)

    def test_it_counts_on_when_redriven_again(self) -> None:
        output = redriven(once_redriven(letter()), TOPICS.queries, b"")
        assert dict(output.headers)["lorelay.redriven.count"] == b"2"

    def test_it_counts_on_when_it_failed_and_is_redriven_as_a_dead_letter_of_its_own(self) -> None:
        first = redriven(letter(), TOPICS.queries, b"")
        failed = letter(origin=Origin(TOPICS.queries, 0, 99), headers=first.headers)
        headers = redriven(failed, TOPICS.queries, b"").headers
        assert list(headers).count(("lorelay.redriven.from", b"lorelay.queries/0/99")) == 1
        assert len([name for name, _ in headers if name.startswith("lorelay.redriven")]) == 2
        assert dict(headers)["lorelay.redriven.count"] == b"2"


class TestTheMark:
    def test_it_says_when_and_how_often_and_changes_nothing_else(self) -> None:
        found = letter()
        once = once_redriven(found)
        assert (once.redriven_at, once.redriven_count) == (NOW, 1)
        unmarked = replace(once, redriven_at=None, redriven_count=0, reason=found.reason)
        assert unmarked == found
        assert once_redriven(once).redriven_count == 2

    def test_it_lies_where_the_dead_letter_lies(self) -> None:
        output = marked(letter(), TOPICS.dead_letters, NOW)
        assert (output.topic, output.partition) == (TOPICS.dead_letters, 2)
        assert output.key == b"lorelay.queries/1/41"

    def test_so_does_the_tombstone(self) -> None:
        output = tombstone(letter(), TOPICS.dead_letters)
        assert (output.key, output.value, output.partition) == (b"lorelay.queries/1/41", None, 2)


class TestThePlan:
    def test_what_was_redriven_is_skipped_unless_asked_for_again(self) -> None:
        found, once = letter(), once_redriven(letter())
        assert plan(found, once) == Plan(ready=(found,), skipped=(once,), refused=())
        assert plan(found, once, again=True).ready == (found, once)

    def test_requests_are_redriven_too(self) -> None:
        found = letter(origin=Origin(TOPICS.requests, 0, 1))
        assert plan(found).ready == (found,)

    @pytest.mark.parametrize(
        "topic", ["lorelay.responses", "lorelay.adapters", "other.queries", "queries"]
    )
    def test_no_other_topic_is_written_to(self, topic: str) -> None:
        ((_, reason),) = plan(letter(origin=Origin(topic, 0, 1))).refused
        assert reason == "it comes from neither lorelay.queries nor lorelay.requests"

    def test_what_is_none_of_ours_is_refused_with_its_problem(self) -> None:
        found = replace(letter(), problem="its key is no origin")
        assert plan(found).refused == ((found, "its key is no origin"),)

    def test_what_could_not_be_marked_is_refused(self) -> None:
        ((_, reason),) = plan(letter(value=bytes(MAX_RECORD_BYTES))).refused
        assert "more than 2,097,152 bytes" in reason


@given(SIZES)
def test_batches_hold_every_letter_in_order_and_stay_small(sizes: list[int]) -> None:
    template = letter()
    letters = [replace(template, value=bytes(size)) for size in sizes]
    found = list(batches(letters))
    assert [each for batch in found for each in batch] == letters
    for batch in found:
        assert len(batch) == 1 or sum(len(each.value) for each in batch) <= 4 * 1024 * 1024


def test_a_batch_has_a_hundred_letters_at_most() -> None:
    assert [len(batch) for batch in batches([letter()] * 250)] == [100, 100, 50]
