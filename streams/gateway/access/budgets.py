"""The budgets of all keys that this gateway has seen."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schemas.records import Usage
from streams.gateway.access.budget import Budget
from streams.gateway.access.keys import Key


class Permit:
    """A place for one request, once it is taken; and its part of the headers of the answer."""

    def __init__(self, key: Key | None, budget: Budget, now: Callable[[], float]) -> None:
        self._key = key
        self._budget = budget
        self._now = now
        self.headers: dict[str, str] = {}

    def take(self) -> None:
        """Raises: LimitReached, QuotaExhausted."""
        if self._key is None:
            return
        now = self._now()
        self._budget.take(self._key, now)
        self.headers = self._budget.headers(self._key, now)

    @contextmanager
    def held(self) -> Iterator[None]:
        """After the block, the place is free again."""
        try:
            yield
        finally:
            if self._key is not None:
                self._budget.release()

    def spend(self, usage: Usage) -> None:
        """The tokens of the answer."""
        self._budget.spend(usage.prompt_tokens + usage.completion_tokens, self._now())


class Budgets:
    """Each gateway counts for itself, from its start: several allow several times as much."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._budgets: defaultdict[str, Budget] = defaultdict(Budget)

    def permit(self, key: Key | None) -> Permit:
        """For a request of the key; without a key there are no limits."""
        return Permit(key, self._budgets[key.id] if key else Budget(), self._now)
