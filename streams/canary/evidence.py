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
#: How near to impossible, or to certain, the null's own probabilities come.
_EDGE: Final = 1e-12
#: How exactly they are found, and in how many steps at most; halving alone takes 40.
_EXACT: Final = 1e-12
_STEPS: Final = 60
_FLAT: Final = 1e-300


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
        o_b = nearest(a_c, a_b, n_c, n_b, self._margin)
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
        """The pairs that are betted on: along a grid, and what the canary has looked like.

        Those beside the first memory of the baseline, and then those beside the second.
        """
        top = 1.0 - self._margin
        bases = np.stack([seen.estimate() for seen in self._baselines], axis=-1)[..., None]
        bases = _between(bases, _LEAST, top - _LEAST)
        most = bases + self._margin
        grid = most + (1.0 - most) * _WORSE if self._against_fine else most * _FINE
        seen = self._canary.estimate()[..., None, None]
        # Before the first window the canary's is one number for all comparisons.
        a_c = np.concatenate([grid, seen + np.zeros_like(bases)], axis=-1)
        flat = (*a_c.shape[:-2], -1)
        a_b = (bases + np.zeros_like(a_c)).reshape(flat)
        return _between(a_c, _LEAST, 1.0 - _LEAST).reshape(flat), a_b


def nearest(a_c: Numbers, a_b: Numbers, n_c: Numbers, n_b: Numbers, margin: float) -> Numbers:
    """The o_b for which (o_b + margin, o_b) has the least divergence from (a_c, a_b).

    That is convex in o_b: its slope is n_c (o_c - a_c) / (o_c (1 - o_c)) and the same for b. Times
    both denominators it is a cubic that falls from plus infinity, is not positive at 0, not
    negative at 1 - margin, and falls again: of its three roots ours is the middle one. Viete's
    formula gives it, and a step of Newton's method exactly, or several where two roots nearly meet
    and the formula is left with half its digits. A step that leaves the root's bracket halves it.
    """
    w_c = n_c / np.maximum(n_c + n_b, _EDGE)
    w_b = 1.0 - w_c
    # -o^3 + square o^2 + linear o + constant, and the same without its square: o = t + square / 3.
    short, spread = margin - a_c, margin * (1.0 - margin)
    square = w_c * (1.0 - short) + w_b * (1.0 - 2.0 * margin + a_b)
    linear = w_c * short + w_b * (spread - a_b * (1.0 - 2.0 * margin))
    constant = -w_b * a_b * spread
    third = square / 3.0
    radius = np.sqrt((linear / 3.0) + third * third)
    turn = (constant + linear * third + 2.0 * third**3) / (2.0 * radius**3)
    o_b = third - 2.0 * radius * np.sin(np.arcsin(_between(turn, -1.0, 1.0)) / 3.0)
    low: Numbers | float = _EDGE
    high: Numbers | float = 1.0 - margin - _EDGE
    o_b = _between(o_b, low, high)
    for _ in range(_STEPS):
        o_c = o_b + margin
        of_c, of_b = o_c * (1.0 - o_c), o_b * (1.0 - o_b)
        slope = w_c * (o_c - a_c) * of_b + w_b * (o_b - a_b) * of_c
        steepness = w_c * (of_b + (o_c - a_c) * (1.0 - 2.0 * o_b))
        steepness = steepness + w_b * (of_c + (o_b - a_b) * (1.0 - 2.0 * o_c))
        # What is not steep at all steps out of its bracket.
        stepped = o_b - slope / np.maximum(steepness, _FLAT)
        if (np.abs(stepped - o_b) <= _EXACT).all():
            return _between(stepped, low, high)
        low, high = np.where(slope < 0.0, o_b, low), np.where(slope > 0.0, o_b, high)
        before = o_b
        o_b = np.where((low <= stepped) & (stepped <= high), stepped, (low + high) / 2.0)
        if (np.abs(o_b - before) <= _EXACT).all():
            break
    return o_b


def _between(value: Numbers, low: Numbers | float, high: Numbers | float) -> Numbers:
    """As numpy's clip, which takes several times as long for a few numbers."""
    return np.minimum(np.maximum(value, low), high)


def _log_ratio(a: Numbers, o: Numbers, number: Numbers, bad: Numbers) -> Numbers:
    return bad * np.log(a / o) + (number - bad) * np.log1p((o - a) / (1 - o))


def _column(counts: Counts) -> tuple[Numbers, Numbers]:
    return tuple(np.asarray(part, dtype=np.float64)[..., None] for part in counts)  # type: ignore[return-value]


def _and_none(won: Numbers) -> Numbers:
    return np.concatenate([won, np.zeros((*won.shape[:-1], 1))], axis=-1)
