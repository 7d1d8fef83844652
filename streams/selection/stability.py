"""The population stability index: how far a distribution has moved from what it was.

For shares p and q of the same bins it is the sum of (p - q) ln(p / q), which is the symmetric
Kullback-Leibler divergence. Usual reading (Lewis, An Introduction to Credit Scoring, 1994): below
0.1 nothing has changed, from 0.25 on much has. That reading is for large samples. Between two
small ones of the same population the index is about (1/n + 1/m) times a chi-square variable with
as many degrees of freedom as bins less one (Yurdakul, Statistical Properties of Population
Stability Index, Western Michigan University, 2018).
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from streams.selection.calibration import MIN_SCORES, Floats

MOST_BINS = 10
# With fewer scores to a bin, chance moves the index by more than 0.1 on its own.
SCORES_PER_BIN = 10
# Added to each bin, so that an empty one gives a large index and not an infinite one.
_SMOOTHING = 0.5
# How rarely chance alone may exceed what is ascribed to it: there are many adapters to look at.
CHANCE = 0.001


def stability_index(expected: Sequence[int], found: Sequence[int]) -> float:
    """The index of two counts over the same bins, at least 0 and finite; each is smoothed."""
    pairs = zip(_shares(expected), _shares(found), strict=True)
    return sum((p - q) * math.log(p / q) for p, q in pairs)


def index_by_chance(expected: int, found: int, bins: int, chance: float = CHANCE) -> float:
    """What the index of two samples of one population exceeds with that probability only.

    ``expected`` and ``found`` are their sizes, both above 0, in at least two bins. The quantile of
    chi-square is Wilson and Hilferty's (1931), 3 % off at most here.
    """
    freedom = bins - 1
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + NormalDist().inv_cdf(1 - chance) * math.sqrt(spread)) ** 3
    return (1 / expected + 1 / found) * quantile


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + _SMOOTHING * len(counts)
    return [(count + _SMOOTHING) / total for count in counts]


@dataclass(frozen=True, slots=True)
class ScoreBins:
    """Bins between quantiles of scores, and how many of these scores each holds.

    ``edges`` (b - 1,) rise; a score that equals one belongs to the bin above it. The first bin has
    no lower and the last no upper end. ``counts`` (b,) are at least 2.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, scores: Floats) -> "ScoreBins | None":
        """Deciles of scores (n,), or fewer bins where they are few; None below ``MIN_SCORES``.

        None, too, where the scores are all the same.
        """
        if len(scores) < MIN_SCORES:
            return None
        bins = min(MOST_BINS, len(scores) // SCORES_PER_BIN)
        quantiles = np.quantile(scores, np.arange(1, bins) / bins)
        edges = np.unique(quantiles[quantiles > scores.min()]).astype(np.float64)
        if not len(edges):
            return None
        places = np.searchsorted(edges, scores, side="right")
        counts = np.bincount(places, minlength=len(edges) + 1)
        return cls(tuple(edges.tolist()), tuple(counts.tolist()))

    @property
    def total(self) -> int:
        """How many scores the bins were made of."""
        return sum(self.counts)

    def place(self, score: float) -> int:
        """The number of the bin that a score falls into."""
        return bisect_right(self.edges, score)
