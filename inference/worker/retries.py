"""Whether a failed request is tried again, and when. Pure but for the jitter."""

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from tenacity import wait_exponential_jitter

from schemas.errors import EngineCrashed, RequestError
from schemas.records import InferenceRequest

#: A request that has crashed the engine in a crowd and then alone is the one that does it.
MOST_CRASHES = 2
#: A worker is killed for many reasons: one that dies twice with a request may do so because of
#: it, which then runs alone, and is convicted by the third time.
SUSPICIOUS_DEATHS, MOST_DEATHS = 2, 3
_wait = wait_exponential_jitter(multiplier=0.2, max=10.0, jitter=0.2)


def back_off(attempt: int) -> timedelta:
    """How long to wait after so many attempts: 0.2 s, doubled each time, 10 s at most."""
    state: Any = SimpleNamespace(attempt_number=attempt)
    return timedelta(seconds=_wait(state))


def after_deaths(request: InferenceRequest, deaths: int) -> InferenceRequest:
    """The request with the attempts that ended with the worker, so that no retry counts them."""
    if not deaths:
        return request
    crashes = max(request.crashes, int(deaths >= SUSPICIOUS_DEATHS))
    return replace(request, attempt=request.attempt + deaths, crashes=crashes)


def check_deaths(deaths: int) -> None:
    """Raises: EngineCrashed where too many workers have died with the request."""
    if deaths >= MOST_DEATHS:
        raise EngineCrashed(f"The worker died {deaths} times with this request in its engine.")


def again(
    request: InferenceRequest, error: RequestError, *, max_attempts: int, now: datetime
) -> InferenceRequest | None:
    """The request to try instead, or None where it ends with the error.

    It ends where the error is not of the kind that passes, after ``max_attempts``, where its
    deadline comes before the next attempt would, and after its second crash of an engine. No
    attempt is spent on what the error says would be in vain: the wait begins after that.
    """
    crashes = request.crashes + isinstance(error, EngineCrashed)
    not_before = now + timedelta(seconds=error.retry_after_s) + back_off(request.attempt)
    deadline = request.query.deadline
    if (
        not error.retryable
        or request.attempt >= max_attempts
        or crashes >= MOST_CRASHES
        or (deadline is not None and not_before >= deadline)
    ):
        return None
    return replace(request, attempt=request.attempt + 1, crashes=crashes, not_before=not_before)
