"""Which dead letters are meant."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.errors import EngineUnavailable
from streams.kafka.dead_letters.filter import Filter
from tests.unit.streams.kafka.dead_letters.factories import DEAD_SINCE, letter

LETTER = letter(error=EngineUnavailable("It is dead."), adapter="legal-qa-v1@1.0.0")
EARLIER, LATER = DEAD_SINCE - timedelta(seconds=1), DEAD_SINCE + timedelta(seconds=1)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(origins=frozenset({LETTER.origin, "elsewhere/0/0"})),
        Filter(query_id="q-1"),
        Filter(error="engine_unavailable"),
        Filter(error="engine"),
        Filter(error="EngineUnavailable"),
        Filter(adapter="legal-qa-v1@1.0.0"),
        Filter(adapter="legal-qa-v1"),
        Filter(since=EARLIER, until=LATER),
        Filter(since=DEAD_SINCE, until=DEAD_SINCE),
        Filter(query_id="q-1", error="engine", adapter="legal-qa-v1", since=EARLIER),
    ],
)
def test_it_is_meant(wanted: Filter) -> None:
    assert wanted.matches(LETTER)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(origins=frozenset()),
        Filter(origins=frozenset({"elsewhere/0/0"})),
        Filter(query_id="q-2"),
        Filter(error="engine_failed"),
        Filter(adapter="legal-qa-v1@1.0.1"),
        Filter(adapter="legal-qa"),
        Filter(since=LATER),
        Filter(until=EARLIER),
        Filter(query_id="q-1", error="internal"),
    ],
)
def test_it_is_not_meant(wanted: Filter) -> None:
    assert not wanted.matches(LETTER)


def test_without_an_adapter_no_adapter_matches() -> None:
    assert not Filter(adapter="legal-qa-v1").matches(letter())


def test_a_letter_without_a_time_is_in_no_span() -> None:
    timeless = letter(at=datetime(1969, 12, 31, tzinfo=UTC))
    assert timeless.since is None
    assert Filter().matches(timeless)
    assert not Filter(until=LATER).matches(timeless)


def test_only_a_filter_without_conditions_is_empty() -> None:
    assert Filter().is_empty
    assert not Filter(origins=frozenset()).is_empty
    assert not Filter(until=LATER).is_empty
