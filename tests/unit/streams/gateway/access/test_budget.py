"""What a key's limits let through, at times that are passed in."""

import pytest

from streams.gateway.access.budget import Budget, span_text
from streams.gateway.access.keys import Key
from streams.gateway.failures import LimitReached, QuotaExhausted

DAY = 24 * 3600
NOON = 20_000 * DAY + DAY / 2


def key(**limits: int) -> Key:
    return Key("k", "0" * 64, "clara", **limits)  # type: ignore[arg-type]


def test_a_key_without_limits_is_told_of_none() -> None:
    budget = Budget()
    for _ in range(1000):
        budget.take(key(), NOON)
    assert budget.headers(key(), NOON) == {}


def test_a_minute_s_requests_may_come_at_once_and_then_as_they_are_gained() -> None:
    budget, limited = Budget(), key(requests_per_minute=6)
    for _ in range(6):
        budget.take(limited, NOON)
    with pytest.raises(LimitReached, match="6 requests a minute") as refused:
        budget.take(limited, NOON)
    assert refused.value.retry_after_s == pytest.approx(10)
    assert refused.value.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.value.headers["x-ratelimit-reset-requests"] == "1m0s"
    budget.take(limited, NOON + 10)
    with pytest.raises(LimitReached):
        budget.take(limited, NOON + 19)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    budget, limited = Budget(), key(requests_per_minute=1)
    budget.take(limited, NOON)
    with pytest.raises(LimitReached):
        budget.take(limited, NOON - 3600)


def test_a_place_that_is_left_is_free_again() -> None:
    budget, limited = Budget(), key(most_at_once=2)
    budget.take(limited, NOON)
    budget.take(limited, NOON)
    with pytest.raises(LimitReached, match="as are allowed: 2"):
        budget.take(limited, NOON)
    budget.release()
    budget.take(limited, NOON)


def test_a_day_s_tokens_are_used_up_until_the_next_day_of_utc() -> None:
    budget, limited = Budget(), key(tokens_per_day=100)
    budget.take(limited, NOON)
    budget.spend(60, NOON)
    assert budget.headers(limited, NOON)["x-ratelimit-remaining-tokens"] == "40"
    budget.take(limited, NOON)
    budget.spend(60, NOON)
    with pytest.raises(QuotaExhausted) as refused:
        budget.take(limited, NOON)
    assert refused.value.retry_after_s == DAY / 2
    assert refused.value.headers["x-ratelimit-reset-tokens"] == "12h0m0s"
    budget.take(limited, NOON + DAY / 2)


def test_what_is_refused_takes_nothing_of_the_other_limits() -> None:
    budget, limited = Budget(), key(requests_per_minute=2, most_at_once=1)
    budget.take(limited, NOON)
    for _ in range(5):
        with pytest.raises(LimitReached):
            budget.take(limited, NOON)
    budget.release()
    budget.take(limited, NOON)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (6.2, "7s"), (60, "1m0s"), (3600, "1h0m0s")],
)
def test_times_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert span_text(seconds) == text
