"""What adapters tell about each other: how close is too close, and how sure a choice is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.selection import logistic
from streams.selection.calibration import Floats, Thresholds
from streams.selection.probes import NOBODY, ProbeScores

# With fewer adapters nothing shows what a lead is worth off topic: taking a text's own adapter
# away leaves one.
_MIN_FOR_MARGIN = 3


@dataclass(frozen=True, slots=True)
class ThresholdTable:
    """Every adapter's thresholds as an array (adapters, 2 + languages).

    ``columns`` are those of the languages and of None, a language not known; column 0 is for all
    other languages. ``rows`` are what the values come from.
    """

    rows: tuple[Thresholds, ...]
    columns: Mapping[str | None, int]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, thresholds: Sequence[Thresholds]) -> "ThresholdTable":
        """A table with a row for each adapter, in the order of the index."""
        languages = [None, *sorted({language for t in thresholds for language in t.by_language})]
        rows = [[t.foreign, *map(t.of, languages)] for t in thresholds]
        values = np.array(rows, np.float64).reshape(len(rows), 1 + len(languages))
        columns = {language: i + 1 for i, language in enumerate(languages)}
        return cls(tuple(thresholds), columns, values)

    def of_winners(
        self, winners: NDArray[np.intp], languages: Sequence[str | None]
    ) -> NDArray[np.float64]:
        """The threshold of each winner (n,) for the language of its text, (n,)."""
        columns = [self.columns.get(language, 0) for language in languages]
        found: NDArray[np.float64] = self.values[winners, columns]
        return found


@dataclass(frozen=True, slots=True)
class Confidence:
    """Logistic regression on the score over its threshold and on the margin, in their units."""

    intercept: float
    excess: float
    margin: float

    def of(self, excess: NDArray[np.floating], margin: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability that the nearest adapter is the right one, (n,) within 0..1."""
        logit = self.intercept + self.excess * excess + self.margin * margin
        probability: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logit))
        return probability


@dataclass(frozen=True, slots=True)
class Rivalry:
    """The least lead over the second, and the confidence where one could be fitted."""

    min_margin: float = 0.0
    confidence: Confidence | None = None

    def probabilities(
        self, ranked: NDArray[np.float64], thresholds: NDArray[np.float64]
    ) -> list[float] | list[None]:
        """For each row of scores, best first (n, adapters), that the nearest is right."""
        if self.confidence is None:
            return [None] * len(ranked)
        best, margin = lead(ranked)
        excess = best - thresholds
        probabilities: list[float] = self.confidence.of(excess, margin).tolist()
        return probabilities


@dataclass(frozen=True, slots=True)
class _Contests:
    """How calibration texts fared: score over threshold, lead, and whether rightly won; (n,)."""

    excess: NDArray[np.float64]
    margin: Floats
    right: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.right)

    def of(self, rows: NDArray[np.bool_]) -> "_Contests":
        return _Contests(self.excess[rows], self.margin[rows], self.right[rows])

    @classmethod
    def joined(cls, parts: Sequence["_Contests"]) -> "_Contests":
        return cls(
            np.concatenate([part.excess for part in parts]),
            np.concatenate([part.margin for part in parts]),
            np.concatenate([part.right for part in parts]),
        )


def fit_rivalry(texts: ProbeScores, table: ThresholdTable, false_reject: float) -> Rivalry:
    """The margin that keeps texts from a wrong adapter, and the confidence in a choice.

    The margin is the greatest lead by which a wrong adapter wins a calibration text, but at most
    what ``false_reject`` of the rightly routed ones stay below: adapters that are never mistaken
    for each other need none.

    The confidence tells texts that their own adapter wins (right) from those it loses, from the
    background, and from all texts with their own adapter taken away, which are off every topic
    left (wrong). Texts on a topic count as much as those off every one, and of the latter those of
    the background as much as the others.
    """
    adapters = texts.scores.shape[1]
    contests, is_owned = _contest(texts, table), texts.owners != NOBODY
    owned, background = contests.of(is_owned), contests.of(~is_owned)
    least = _least_margin(owned.margin, owned.right, false_reject)
    off_topic = [background, _contest(texts.off_topic(), table)] if adapters > 1 else [background]
    return Rivalry(least, _fit_confidence(owned, off_topic, adapters))


def _least_margin(margin: Floats, right: NDArray[np.bool_], false_reject: float) -> float:
    leads, mistaken = margin[right], margin[~right]
    if not len(leads) or not len(mistaken):
        return 0.0
    return min(float(np.quantile(leads, false_reject, method="lower")), float(mistaken.max()))


def _contest(texts: ProbeScores, table: ThresholdTable) -> _Contests:
    winners = texts.scores.argmax(axis=1)
    best, margin = lead(texts.scores)
    excess = best - table.of_winners(winners, texts.languages)
    return _Contests(excess, margin, winners == texts.owners)


def lead(scores: Floats) -> tuple[Floats, Floats]:
    """The best score of each row (n, adapters), and its lead over the second, 0 without one."""
    if scores.shape[1] == 1:
        return scores[:, 0], np.zeros(len(scores), scores.dtype)
    two = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
    return two[:, 1], two[:, 1] - two[:, 0]


def _fit_confidence(
    on_topic: _Contests, off_topic: Sequence[_Contests], adapters: int
) -> Confidence | None:
    """None where there is nothing to tell apart, or where a higher score would mean less.

    The margin counts only where a greater lead means more.
    """
    kinds = [kind.of(np.isfinite(kind.excess)) for kind in (on_topic, *off_topic)]
    shares = [1 / 2] + [1 / 2 / len(off_topic)] * len(off_topic)
    texts = _Contests.joined(kinds)
    if texts.right.all() or not texts.right.any():
        return None
    each = [share / max(1, len(kind)) for share, kind in zip(shares, kinds, strict=True)]
    weights = np.repeat(each, [len(kind) for kind in kinds]) * len(texts)
    if adapters >= _MIN_FOR_MARGIN:
        both = _logistic(np.column_stack([texts.excess, texts.margin]), texts.right, weights)
        if both.excess > 0 and both.margin > 0:
            return both
    without = np.zeros_like(texts.margin)
    alone = _logistic(np.column_stack([texts.excess, without]), texts.right, weights)
    return alone if alone.excess > 0 else None


def _logistic(
    features: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> Confidence:
    scale = features.std(axis=0) + np.finfo(np.float32).eps
    plane = logistic.fit(features / scale, right, weights)
    by_excess, by_margin = (plane.weights / scale).tolist()
    return Confidence(plane.intercept, by_excess, by_margin)
