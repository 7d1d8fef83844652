"""Whether an adapter's queries still resemble its examples as they did at calibration.

Compared are the scores that reach the adapter's threshold: those of its calibration texts, and
those of the queries that it was the nearest adapter to. Below the threshold lies what is off every
topic; it is nearest to some adapter, too, and how much of it comes says nothing about drift.

On CLINC150 (10 domains, 200 examples each) the median index is 0.09 for queries like the examples,
0.11 where 20 % of all traffic are off topic and 0.23 where half of it is, 1.1 with typos, and 2.2
for what the examples lack. Over all scores, off-topic traffic alone gives 0.33 and 0.95.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streams.selection.calibration import CalibrationTexts, Thresholds
from streams.selection.recent import SLICES, WindowCounts
from streams.selection.stability import ScoreBins, index_by_chance, stability_index

#: Stands for all of an adapter's queries, in whatever language.
ALL = "all"
#: Stands for a language that an adapter has no examples in.
OTHER = "other"
#: Stands for a language that nobody knows.
UNKNOWN = "unknown"
_NO_LANGUAGES = (None, ALL, OTHER, UNKNOWN)

#: Languages that are told apart for one adapter: those with the most calibration texts.
MOST_LANGUAGES = 5
#: Queries in the window below which no index is given.
MIN_QUERIES = 100

Calibration = tuple[CalibrationTexts, Thresholds]


class Reading(NamedTuple):
    """How far the scores of an adapter's queries in a language, or in ``ALL``, have moved.

    ``psi`` is the population stability index, ``by_chance`` what it would hardly exceed if
    nothing had changed.
    """

    adapter: str
    language: str
    psi: float
    by_chance: float


@dataclass(frozen=True, slots=True)
class _Watched:
    """One adapter: the languages told apart, and the counts of those with enough scores."""

    calibration: Calibration
    languages: frozenset[str]
    counts: Mapping[str, WindowCounts]


class DriftWatch:
    """The scores of recent queries by adapter and language, against those at calibration.

    ``window`` is in seconds, as are all times here, of a clock that never goes back. One thread
    observes; ``follow`` and ``readings`` may be called from others, one at a time each.
    """

    def __init__(self, window: float) -> None:
        self._slice = window / SLICES
        self._watched: Mapping[str, _Watched] = {}

    def follow(self, calibrations: Mapping[str, Calibration]) -> None:
        """Watches these adapters and no others.

        What was counted of an adapter stays, unless its scores are binned otherwise now.
        """
        self._watched = {
            adapter: _followed(self._watched.get(adapter), calibration)
            for adapter, calibration in calibrations.items()
        }

    def language(self, adapter: str, language: str | None) -> str:
        """What a query's language counts as with the adapter: itself, ``OTHER`` or ``UNKNOWN``."""
        if language is None:
            return UNKNOWN
        watched = self._watched.get(adapter)
        return language if watched and language in watched.languages else OTHER

    def observe(self, adapter: str, language: str, score: float, now: float) -> None:
        """Counts a query whose score reached the threshold of the adapter nearest to it."""
        watched = self._watched.get(adapter)
        if watched is None:
            return
        number = int(now / self._slice)
        for key in (ALL, language):
            if counts := watched.counts.get(key):
                counts.add(score, number)

    def readings(self, now: float) -> Iterator[Reading]:
        """One for each adapter and language with enough calibration scores and queries."""
        number = int(now / self._slice)
        for adapter, watched in self._watched.items():
            for language, counts in watched.counts.items():
                found = counts.counts(number)
                if (queries := sum(found)) >= MIN_QUERIES:
                    bins = counts.bins
                    psi = stability_index(bins.counts, found)
                    chance = index_by_chance(bins.total, queries, len(found))
                    yield Reading(adapter, language, psi, chance)


def _followed(known: _Watched | None, calibration: Calibration) -> _Watched:
    if known is not None and all(map(_is, known.calibration, calibration)):
        return known
    languages = _languages(calibration[0])
    counts: dict[str, WindowCounts] = {}
    for language, bins in score_bins(*calibration, languages).items():
        kept = known.counts.get(language) if known else None
        counts[language] = kept if kept and kept.bins == bins else WindowCounts(bins)
    return _Watched(calibration, languages, counts)


def _is(one: object, other: object) -> bool:
    return one is other


def _languages(texts: CalibrationTexts) -> frozenset[str]:
    """The languages with the most calibration texts, at most ``MOST_LANGUAGES``."""
    found = Counter(tag for tag in texts.languages if tag not in _NO_LANGUAGES)
    return frozenset(tag for tag, _ in found.most_common(MOST_LANGUAGES) if tag)


def score_bins(
    texts: CalibrationTexts, thresholds: Thresholds, languages: frozenset[str]
) -> dict[str, ScoreBins]:
    """The bins of the scores that reach the threshold: of ``ALL``, and of each language.

    Those with too few scores are left out.
    """
    least = np.array([thresholds.of(language) for language in texts.languages])
    reached = texts.scores >= least
    tags = np.array([language or "" for language in texts.languages])
    parts = {ALL: reached} | {tag: reached & (tags == tag) for tag in sorted(languages)}
    found = {key: ScoreBins.of(texts.scores[part]) for key, part in parts.items()}
    return {key: bins for key, bins in found.items() if bins is not None}
