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
_wait = wait_exponential_jitter(multiplier=0.2, max=10.0, jitter=0.2)


def back_off(attempt: int) -> timedelta:
    """How long to wait after so many attempts: 0.2 s, doubled each time, 10 s at most."""
    state: Any = SimpleNamespace(attempt_number=attempt)
    return timedelta(seconds=_wait(state))


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
