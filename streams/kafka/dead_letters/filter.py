"""Which dead letters are meant. Pure."""

from dataclasses import dataclass
from datetime import datetime

from streams.kafka.dead_letters.letter import DeadLetter


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """All that is given must hold; without anything every dead letter matches.

    `origins` are names as `topic/partition/offset`; `error` a code, a category or an error's
    class; `adapter` an id or `id@version`; `since` and `until` both include their ends.
    """

    origins: frozenset[str] | None = None
    query_id: str | None = None
    error: str | None = None
    adapter: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every dead letter matches."""
        return self == Filter()

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the dead letter is meant."""
        return (
            (self.origins is None or letter.origin in self.origins)
            and self.query_id in (None, letter.query_id)
            and self.error in (None, letter.code, letter.category, letter.error_class)
            and self._matches_adapter(letter.adapter)
            and self._matches_time(letter.since)
        )

    def _matches_adapter(self, adapter: str | None) -> bool:
        if self.adapter is None:
            return True
        return adapter is not None and self.adapter in (adapter, adapter.partition("@")[0])

    def _matches_time(self, time: datetime | None) -> bool:
        if self.since is None and self.until is None:
            return True
        if time is None:
            return False
        return not (
            (self.since is not None and time < self.since)
            or (self.until is not None and time > self.until)
        )
