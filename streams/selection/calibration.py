"""Where "near enough" begins: thresholds, margin and probability, fitted and never typed in."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from streams.selection.index import NEIGHBOURS, Vectors, likeness

Floats = NDArray[np.floating]

FALSE_REJECT = 0.05

# A quantile of 0.05 means something from 20 scores on; below, the scores' spread stands in.
MIN_SCORES = 20

# Scores that calibrate one adapter. The rest of its examples would cost time and move nothing.
MAX_SCORES = 1_000

# A text and its translation have a cosine of 0.75 with USE multilingual, of 0.09 with MiniLM, which
# knows English only, and of 0.41 with both joined.
MIN_TRANSLATION = 0.3

# How far below the mean of translations a text and its translation still lie, mostly.
_TRANSLATION_SPREAD = 0.2

# Rows compared at a time with all of an adapter's examples: 20 MB where it has 10,000.
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The lowest score that counts as near: for a text of no known language (``overall``), for
    the languages of the adapter's examples, and for any other language (``foreign``).

    ``fitted`` are the languages with a threshold of their own, the others share the overall one.
    All are infinite where nothing could be fitted: such an adapter is never chosen by likeness.
    """

    overall: float
    foreign: float
    by_language: Mapping[str, float] = field(default_factory=dict)
    fitted: frozenset[str] = frozenset()

    def of(self, language: str | None) -> float:
        """The threshold for a text in that language, None if it isn't known."""
        if language is None:
            return self.overall
        return self.by_language.get(language, self.foreign)


def fit_thresholds(
    scores: Floats,
    languages: Sequence[str | None],
    translation: float,
    false_reject: float = FALSE_REJECT,
) -> Thresholds:
    """Thresholds that reject at most ``false_reject`` of an adapter's own calibration scores.

    ``scores`` (n,) are those of texts that the adapter should answer, without themselves among
    the neighbours; ``languages`` has one for each. A language gets its own threshold from
    ``MIN_SCORES`` scores on.

    In a language without examples, nothing can be fitted. There a score is taken to shrink as
    the likeness between a text and its translation does: to ``translation`` of what it is. On
    xSID (50 examples) that rejects 7 % of German queries where the examples are English, and 3 %
    the other way round; the overall threshold rejects 25 and 10 %. An encoder below
    ``MIN_TRANSLATION`` doesn't carry meaning across languages, so nothing is taken off.
    """
    if len(scores) == 0:
        return Thresholds(math.inf, math.inf)
    overall = lower_bound(scores, false_reject)
    tags = np.array([language or "" for language in languages])
    by_language = {tag: overall for tag in sorted(set(tags.tolist()) - {""})}
    fitted = frozenset(tag for tag in by_language if (tags == tag).sum() >= MIN_SCORES)
    for tag in fitted:
        by_language[tag] = lower_bound(scores[tags == tag], false_reject)
    kept = translation if translation >= MIN_TRANSLATION else 1.0
    return Thresholds(overall, min(overall, kept * overall), by_language, fitted)


def lower_bound(scores: Floats, rate: float) -> float:
    """A value that at most ``rate`` of the scores (n > 0) lie below.

    From ``MIN_SCORES`` scores on it is their empirical quantile. Fewer can't show one, so it is
    the lower prediction bound of a normal distribution with their mean and deviation, or the
    lowest score where that is lower still.
    """
    empirical = float(np.quantile(scores, rate, method="lower"))
    if len(scores) >= MIN_SCORES:
        return empirical
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    reach = NormalDist().inv_cdf(rate) * spread * math.sqrt(1 + 1 / len(scores))
    return min(empirical, float(np.mean(scores)) + reach)


@dataclass(frozen=True, slots=True)
class CalibrationTexts:
    """Texts of one adapter that stand for its queries: rows (n,) of its vectors, and the scores.

    ``scores`` (n,) are against its examples without the text itself.
    """

    rows: NDArray[np.intp]
    scores: Vectors
    languages: tuple[str | None, ...]


def calibration_texts(
    vectors: Vectors,
    languages: Sequence[str | None],
    held_out: NDArray[np.bool_],
    translation: float = 1.0,
) -> CalibrationTexts:
    """The held-out texts against the others, or each text against all others where few are.

    ``vectors`` (m, d), ``languages`` and ``held_out`` (m,) describe an adapter's examples. From
    ``MIN_SCORES`` held-out ones on they are compared with the rest. Fewer say too little, so
    every example is left out once (cross-validation of as many folds as examples). A single
    example has nothing to be compared with and gives no texts.

    Nor is a text compared with its own translations: queries don't come with theirs. What is in
    another language and about as alike as ``translation`` (0..1) is taken for one, where both
    languages have ``MIN_SCORES`` texts: of fewer, some are taken for the wrong one. On xSID, with
    50 German examples and their English translations, 28 % of the German queries were rejected
    otherwise.
    """
    if len(vectors) < 2:
        return CalibrationTexts(np.empty(0, np.intp), np.empty(0, np.float32), ())
    tags = _frequent(languages)
    if held_out.sum() >= MIN_SCORES and not held_out.all():
        rows = evenly(np.flatnonzero(held_out), MAX_SCORES)
        compared = np.flatnonzero(~held_out)
    else:
        rows = evenly(np.arange(len(vectors)), MAX_SCORES)
        compared = np.arange(len(vectors))
    scores = _scores(vectors, tags, rows, compared, translation - _TRANSLATION_SPREAD)
    return CalibrationTexts(rows, scores, tuple(languages[row] for row in rows))


def _frequent(languages: Sequence[str | None]) -> NDArray[np.intp]:
    """Numbers (m,) of the languages that ``MIN_SCORES`` of them or more have, 0 for all others."""
    frequent = [tag for tag, count in Counter(languages).items() if tag and count >= MIN_SCORES]
    numbers = {tag: number for number, tag in enumerate(frequent, 1)}
    return np.array([numbers.get(tag or "", 0) for tag in languages], np.intp)


def _scores(
    vectors: Vectors,
    tags: NDArray[np.intp],
    rows: NDArray[np.intp],
    compared: NDArray[np.intp],
    twin: float,
) -> Vectors:
    """Scores (n,) of ``rows`` (n,) against the rows ``compared``, without themselves.

    Those with another tag that are as alike as ``twin`` don't count.
    """
    parts = []
    examples = vectors[compared]
    others = len(compared) - int(np.isin(rows, compared).any())
    for start in range(0, len(rows), _CHUNK):
        own = rows[start : start + _CHUNK]
        similarities = vectors[own] @ examples.T
        foreign = tags[own][:, None] != tags[compared][None]
        foreign &= (tags[own][:, None] > 0) & (tags[compared][None] > 0)
        similarities[foreign & (similarities >= twin)] = -1.0
        similarities[own[:, None] == compared[None]] = -1.0
        parts.append(likeness(similarities, min(NEIGHBOURS, others)))
    return np.concatenate(parts)


def evenly(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most ``most`` of the rows, spread evenly: the same ones every time."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]
