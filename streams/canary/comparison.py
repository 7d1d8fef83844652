"""One measure of a trial: the margin, and what speaks for and against the canary. Pure."""

import math
from typing import Final

from streams.canary.evidence import Counts, Evidence, Numbers
from streams.canary.measures import Measure

_MOST: Final = 1e12  # of evidence, as it is written down
_NONE: Final = Counts(0, 0)


class Comparison:
    """The canary beside the versions that serve, ``others``, by one measure.

    A window with outcomes of one side alone proves nothing; it waits for the other side's.
    """

    def __init__(self, measure: Measure, margin: float) -> None:
        self.measure = measure
        self.margin = margin
        self.worse = Evidence(margin, against_fine=True)
        self.fine = Evidence(margin, against_fine=False)
        self._canary, self._others = _NONE, _NONE
        self._waiting = _NONE, _NONE

    def learn(self, others: Counts) -> None:
        """A window from before the trial."""
        self.worse.learn(others)
        self.fine.learn(others)

    def add(self, canary: Counts, others: Counts) -> None:
        """A further window."""
        self._canary, self._others = _sum(self._canary, canary), _sum(self._others, others)
        canary, others = _sum(self._waiting[0], canary), _sum(self._waiting[1], others)
        self._waiting = canary, others
        if canary.number and others.number:
            self.worse.add(canary, others)
            self.fine.add(canary, others)
            self._waiting = _NONE, _NONE

    def shares(self) -> tuple[float, float] | None:
        """The bad share of the canary and that of the others; None where one has nothing."""
        if not self._canary.number or not self._others.number:
            return None
        mine, theirs = (float(c.bad) / float(c.number) for c in (self._canary, self._others))
        return mine, theirs

    def in_words(self) -> str:
        """The shares side by side; ratings as people give them."""
        mine, theirs = self.shares() or (0.0, 0.0)
        if self.measure is Measure.RATINGS:
            return f"{1 - mine:.2f} against {1 - theirs:.2f}"
        return f"{mine:.1%} against {theirs:.1%}"

    def margin_in_words(self) -> str:
        """As the command takes it."""
        if self.measure is Measure.RATINGS:
            return f"{self.margin:g}"
        return f"{100 * self.margin:g} points"


def as_number(log_evidence: Numbers) -> float:
    """Evidence as it is written down: no logarithm, and not beyond what anybody asks for."""
    return min(math.exp(min(float(log_evidence), 50.0)), _MOST)


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(one.number + other.number, one.bad + other.bad)
