"""What a canary is compared by, and how the windows of the metrics topic become counts. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.records import AdapterMetrics
from streams.canary.evidence import Counts
from streams.telemetry.sketch import Quantiles, decode_total

_QUANTILE: Final = 0.95
#: Windows of the active version that its 95th percentile is taken of, and the fewest durations.
_REMEMBERED: Final = 60
_FEWEST: Final = 20


class Measure(StrEnum):
    """In each of them a share of the answers, or of what they are worth, is bad."""

    ERRORS = "errors"
    SLOW = "slow"
    REJECTS = "rejects"
    RATINGS = "ratings"


MARGINS: Final[Mapping[Measure, float]] = {
    Measure.ERRORS: 0.02,
    Measure.SLOW: 0.05,
    Measure.REJECTS: 0.02,
    Measure.RATINGS: 0.1,
}
"""How much higher the canary's bad share may be."""

WORDS: Final[Mapping[Measure, str]] = {
    Measure.ERRORS: "share of errors",
    Measure.SLOW: "share of answers slower than the others' 95th percentile",
    Measure.REJECTS: "share of queries that a fallback answered",
    Measure.RATINGS: "mean rating",
}


@dataclass(slots=True)
class Window:
    """What came in one stretch of time to the canary, or to the versions beside it.

    A long trial has tens of thousands, most with a rating or two: those hold no sketch. Answers
    that have waited for their adapter to be loaded, ``num_waited``, are no part of ``total``: all
    who wait for one load are slow together, which is one outcome and not many.
    """

    num_requests: int = 0
    num_errors: int = 0
    num_rejects: int = 0
    num_waited: int = 0
    total: Quantiles | None = None
    num_ratings: int = 0
    lacking: float = 0.0

    def absorb(self, record: AdapterMetrics) -> None:
        """Counts what a record counts. Raises ValueError where its sketch is none of ours."""
        total, waited = decode_total(record.sketch)
        total.subtract(waited)
        self.num_waited += waited.count
        self.num_requests += record.num_requests
        self.num_errors += record.num_errors
        self.num_rejects += record.num_rejects
        self._took(total)

    def rate(self, rating: float) -> None:
        """Counts a rating: what it lacks of 1."""
        self.num_ratings += 1
        self.lacking += 1.0 - min(max(rating, 0.0), 1.0)

    def add(self, other: "Window") -> None:
        """Counts all that ``other`` has counted."""
        self.num_requests += other.num_requests
        self.num_errors += other.num_errors
        self.num_rejects += other.num_rejects
        self.num_waited += other.num_waited
        self.num_ratings += other.num_ratings
        self.lacking += other.lacking
        if other.total is not None:
            self._took(other.total)

    def counts(self, measure: Measure, slow_ms: float | None) -> Counts:
        """How many, and how many of them were bad; slow is what takes longer than ``slow_ms``."""
        match measure:
            case Measure.ERRORS:
                return Counts(self.num_requests, self.num_errors)
            case Measure.REJECTS:
                return Counts(self.num_requests + self.num_rejects, self.num_rejects)
            case Measure.RATINGS:
                return Counts(self.num_ratings, self.lacking)
            case Measure.SLOW:
                if slow_ms is None or self.total is None:
                    return Counts(0, 0)
                return Counts(self.total.count, self.total.above(slow_ms))

    def _took(self, durations: Quantiles) -> None:
        if not durations.count:
            return
        if self.total is None:
            self.total = Quantiles()
        self.total.merge(durations)


class Slowness:
    """From when on an answer is slow: above the 95th percentile of what others took lately.

    It is fixed before a window is looked at, and by the others alone, so it favours nobody.
    """

    def __init__(self) -> None:
        self._windows: deque[Quantiles] = deque()
        self._merged = Quantiles()
        self._threshold_ms: float | None = None

    def add(self, durations: Quantiles) -> None:
        """A window of the versions beside the canary, in order of time."""
        if not durations.count:
            return
        self._windows.append(durations)
        self._merged.merge(durations)
        if len(self._windows) > _REMEMBERED:
            self._merged.subtract(self._windows.popleft())
        is_enough = self._merged.count >= _FEWEST
        self._threshold_ms = self._merged.at(_QUANTILE) if is_enough else None

    def threshold_ms(self) -> float | None:
        """None while there are too few durations to tell."""
        return self._threshold_ms
