"""What a canary is compared by, and how the windows of the metrics topic become counts. Pure."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streams.canary.evidence import Counts
from streams.telemetry.sketch import Quantiles
from streams.telemetry.tally import Tally

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
class Ratings:
    """Ratings between 0 and 1, by their number and what they lack of 1."""

    number: int = 0
    lacking: float = 0.0

    def add(self, rating: float) -> None:
        """Counts a rating."""
        self.number += 1
        self.lacking += 1.0 - min(max(rating, 0.0), 1.0)


@dataclass(slots=True)
class Window:
    """What came in one stretch of time to the canary, or to the versions beside it."""

    tally: Tally = field(default_factory=Tally)
    ratings: Ratings = field(default_factory=Ratings)

    def counts(self, measure: Measure, slow_ms: float | None) -> Counts:
        """How many, and how many of them were bad; slow is what takes longer than ``slow_ms``."""
        tally = self.tally
        match measure:
            case Measure.ERRORS:
                return Counts(tally.num_requests, tally.num_errors)
            case Measure.REJECTS:
                return Counts(tally.num_requests + tally.num_rejects, tally.num_rejects)
            case Measure.RATINGS:
                return Counts(self.ratings.number, self.ratings.lacking)
            case Measure.SLOW:
                if slow_ms is None:
                    return Counts(0, 0)
                return Counts(tally.total.count, tally.total.above(slow_ms))


class Slowness:
    """From when on an answer is slow: above the 95th percentile of what others took lately.

    It is fixed before a window is looked at, and by the others alone, so it favours nobody.
    """

    def __init__(self) -> None:
        self._windows: deque[Quantiles] = deque(maxlen=_REMEMBERED)

    def add(self, durations: Quantiles) -> None:
        """A window of the versions beside the canary, in order of time."""
        if durations.count:
            self._windows.append(durations)

    def threshold_ms(self) -> float | None:
        """None while there are too few durations to tell."""
        merged = Quantiles()
        for durations in self._windows:
            merged.merge(durations)
        return merged.at(_QUANTILE) if merged.count >= _FEWEST else None
