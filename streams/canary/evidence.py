"""Evidence on two proportions that may be looked at after every window. Pure.

Each window gives counts of good and bad outcomes of a canary and of the version beside it. The
null hypothesis is about their probabilities in each window, theta_c and theta_b, and leaves open
how both change from one window to the next, as long as they differ in the way it says. Against an
alternative (a_c, a_b), chosen before the window is seen, the window is weighed by the likelihood
ratio to the member (o_c, o_b) of the null that is nearest to it in Kullback-Leibler divergence.
Its expectation is at most 1 under every member, whatever the sizes n_c and n_b: it is

    (1 + (theta_c - o_c)(a_c - o_c) / (o_c (1 - o_c)))^n_c * (the same for b)^n_b

and so at most the exponential of a sum that is not positive, because the null is convex and o the
nearest point of it. So the products over windows are test martingales, and one that starts at 1
reaches 1 / alpha with probability alpha at most, at any time (Ville). This is the safe test for
two streams of Turner, Ly and Gruenwald, "Generic E-variables for exact sequential k-sample tests
that allow for optional stopping" (Journal of Statistical Planning and Inference, 2024), with a
mixture over alternatives. An outcome may also be a number between 0 and 1, such as a rating: by
convexity its weight is at most what it would be by chance.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

#: How far an alternative lies beyond the margin: as parts of what is left up to certainty.
_WORSE: Final = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95])
#: The canary's probability as parts of the highest that is still fine.
_FINE: Final = np.array([0.05, 0.15, 0.3, 0.5, 0.7, 0.85])
#: Of what has been won on all alternatives, the part that is laid out anew after each window, so
#: that a version that turns bad late is found, too, and one is not lost for an outage of both
#: (Herbster, Warmuth: Tracking the best expert, 1998). What is laid out without looking ahead
#: makes no martingale grow.
_SHARED: Final = 0.01
_SHORT, _LONG = 0.5, 0.97
_LEAST: Final = 1e-4
_HALVINGS: Final = 40


class Counts(NamedTuple):
    """Outcomes of one window: how many, and how many of them were bad, or how bad in all.

    Arrays stand for as many separate comparisons.
    """

    number: Numbers | float
    bad: Numbers | float


class _Seen:
    """What earlier windows say of a probability; ``kept`` is the part that stays with each new one.

    Short memories find out of an outage soon, long ones know rare outcomes.
    """

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._number: Numbers | float = 0.0
        self._bad: Numbers | float = 0.0

    def add(self, counts: Counts) -> None:
        self._number = self._kept * self._number + counts.number
        self._bad = self._kept * self._bad + counts.bad

    def estimate(self) -> Numbers:
        """With half an outcome of each kind before any."""
        return np.asarray((self._bad + 0.5) / (self._number + 1.0), dtype=np.float64)


class Evidence:
    """How strongly the windows speak against the canary's being within, or outside, a margin.

    ``against_fine``: against "it is no more than the margin above the other", so that it is worse.
    Else against "it is the margin above the other or more", so that it is fine.
    """

    def __init__(self, margin: float, *, against_fine: bool) -> None:
        self._margin = margin
        self._against_fine = against_fine
        self._canary = _Seen(_LONG)
        self._baselines = [_Seen(kept) for kept in (_SHORT, _LONG)]
        # One for each alternative, and one that is none: what lies there stays what it is.
        grid = _WORSE if against_fine else _FINE
        count = len(self._baselines) * (len(grid) + 1) + 1
        self._log_wealth: Numbers = np.full(count, -np.log(count))
        self.highest: Numbers = np.zeros(())

    @property
    def log(self) -> Numbers:
        """The logarithm of the evidence now, 0 before any; ln(1 / alpha) decides at level alpha."""
        found: Numbers = np.logaddexp.reduce(self._log_wealth, axis=-1)
        return found

    def learn(self, baseline: Counts) -> None:
        """A window before the canary began: it shows where to look for it, and proves nothing."""
        for seen in self._baselines:
            seen.add(baseline)

    def add(self, canary: Counts, baseline: Counts) -> None:
        """A further window."""
        a_c, a_b = self._alternatives()
        n_c, bad_c = _column(canary)
        n_b, bad_b = _column(baseline)
        o_b = _nearest(a_c, a_b, n_c, n_b, self._margin)
        o_c = o_b + self._margin
        won = _log_ratio(a_c, o_c, n_c, bad_c) + _log_ratio(a_b, o_b, n_b, bad_b)
        in_null = (a_c - a_b <= self._margin) == self._against_fine
        won = np.where(in_null, 0.0, won)
        self._log_wealth = self._log_wealth + _and_none(won)
        shared = self.log[..., None] + np.log(_SHARED / self._log_wealth.shape[-1])
        self._log_wealth = np.logaddexp(self._log_wealth + np.log1p(-_SHARED), shared)
        self.highest = np.maximum(self.highest, self.log)
        self._canary.add(canary)
        self.learn(baseline)

    def _alternatives(self) -> tuple[Numbers, Numbers]:
        """The pairs that are betted on: along a grid, and what the canary has looked like."""
        found = [self._beside(baseline) for baseline in self._baselines]
        a_c, a_b = (np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True))
        return a_c, a_b

    def _beside(self, baseline: _Seen) -> tuple[Numbers, Numbers]:
        top = 1.0 - self._margin
        base = np.clip(baseline.estimate(), _LEAST, top - _LEAST)[..., None]
        most = base + self._margin
        grid = most + (1.0 - most) * _WORSE if self._against_fine else most * _FINE
        seen = self._canary.estimate()[..., None]
        shape = np.broadcast_shapes(grid.shape[:-1], seen.shape[:-1])
        a_c = np.concatenate(
            [np.broadcast_to(part, (*shape, part.shape[-1])) for part in (grid, seen)], axis=-1
        )
        return np.clip(a_c, _LEAST, 1.0 - _LEAST), np.broadcast_to(base, a_c.shape)


def _nearest(a_c: Numbers, a_b: Numbers, n_c: Numbers, n_b: Numbers, margin: float) -> Numbers:
    """The o_b for which (o_b + margin, o_b) has the least divergence from (a_c, a_b).

    It is convex in o_b: its slope is n_c (o_c - a_c) / (o_c (1 - o_c)) and the same for b. The
    sign, which is all that counts, is that of the slope times both denominators.
    """
    low, length = np.zeros_like(a_c), 1.0 - margin
    for _ in range(_HALVINGS):
        length /= 2
        o_b = low + length
        o_c = o_b + margin
        slope = n_c * (o_c - a_c) * (o_b * (1 - o_b)) + n_b * (o_b - a_b) * (o_c * (1 - o_c))
        low = np.where(slope < 0, o_b, low)
    return low + length / 2


def _log_ratio(a: Numbers, o: Numbers, number: Numbers, bad: Numbers) -> Numbers:
    return bad * np.log(a / o) + (number - bad) * np.log1p((o - a) / (1 - o))


def _column(counts: Counts) -> tuple[Numbers, Numbers]:
    return tuple(np.asarray(part, dtype=np.float64)[..., None] for part in counts)  # type: ignore[return-value]


def _and_none(won: Numbers) -> Numbers:
    return np.concatenate([won, np.zeros((*won.shape[:-1], 1))], axis=-1)
