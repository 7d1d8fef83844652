"""Which failed requests are tried again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from inference.worker.retries import (
    MOST_CRASHES,
    MOST_DEATHS,
    after_deaths,
    again,
    back_off,
    check_deaths,
)
from schemas.errors import (
    AdapterCorrupt,
    AdapterUnavailable,
    Cancelled,
    DeadlineExceeded,
    EngineCrashed,
    EngineError,
    InvalidRequest,
    Overloaded,
    RequestError,
)
from schemas.records import InferenceRequest, Origin, Query, Routing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUEST = InferenceRequest(Query(id="q", prompt="x"), Routing(), Origin("q", 0, 1))


def retried(request: InferenceRequest, error: RequestError) -> InferenceRequest | None:
    return again(request, error, max_attempts=3, now=NOW)


def test_an_error_that_may_pass_is_tried_again_later_with_the_next_number() -> None:
    retry = retried(REQUEST, EngineError("full"))
    assert retry is not None and retry.not_before is not None
    assert (retry.attempt, retry.crashes) == (2, 0)
    assert retry.not_before > NOW
    assert replace(retry, attempt=1, not_before=None) == REQUEST


def test_no_attempt_is_spent_while_the_error_is_known_to_stay() -> None:
    error = AdapterUnavailable("a@1.0.0", "there is no folder.")
    error.retry_after_s = 3.0
    retry = retried(REQUEST, error)
    assert retry is not None and retry.not_before is not None
    assert retry.not_before > NOW + timedelta(seconds=3)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("no"),
        DeadlineExceeded("late"),
        Cancelled("gone"),
        AdapterCorrupt("a@1.0.0", "its weights are not finite."),
    ],
    ids=lambda error: error.code,
)
def test_one_that_stays_is_not(error: RequestError) -> None:
    assert retried(REQUEST, error) is None


def test_attempts_are_counted_over_all_workers() -> None:
    assert retried(replace(REQUEST, attempt=2), Overloaded("full")) is not None
    assert retried(replace(REQUEST, attempt=3), Overloaded("full")) is None


def test_no_attempt_is_made_that_would_come_after_the_deadline() -> None:
    soon = replace(REQUEST, query=replace(REQUEST.query, deadline=NOW + timedelta(seconds=0.1)))
    later = replace(REQUEST, query=replace(REQUEST.query, deadline=NOW + timedelta(seconds=60)))
    assert retried(soon, EngineError("full")) is None
    assert retried(later, EngineError("full")) is not None


def test_a_second_crash_convicts() -> None:
    suspect = retried(REQUEST, EngineCrashed("died"))
    assert suspect is not None and suspect.crashes == 1
    assert MOST_CRASHES == 2
    assert retried(suspect, EngineCrashed("died")) is None
    innocent = retried(suspect, EngineError("full"))
    assert innocent is not None and innocent.crashes == 1


def test_the_deaths_of_workers_are_attempts_and_the_second_makes_a_suspect() -> None:
    assert after_deaths(REQUEST, 0) == REQUEST
    found = [after_deaths(REQUEST, deaths) for deaths in (1, 2)]
    assert [(request.attempt, request.crashes) for request in found] == [(2, 0), (3, 1)]
    suspect = replace(REQUEST, attempt=2, crashes=1)
    assert after_deaths(suspect, 1) == replace(suspect, attempt=3)


def test_one_worker_too_many_convicts() -> None:
    check_deaths(MOST_DEATHS - 1)
    with pytest.raises(EngineCrashed, match="3 times") as convicted:
        check_deaths(MOST_DEATHS)
    assert retried(after_deaths(REQUEST, MOST_DEATHS), convicted.value) is None


def test_the_wait_grows_up_to_a_bound_and_differs_each_time() -> None:
    assert back_off(1) < timedelta(seconds=0.5)
    assert all(back_off(n) <= timedelta(seconds=10.2) for n in range(1, 40))
    assert back_off(6) > 8 * back_off(1)
    assert len({back_off(1) for _ in range(20)}) > 1
