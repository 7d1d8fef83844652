"""Scores of live queries against those at calibration."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from streams.selection.calibration import CalibrationTexts, Thresholds
from streams.selection.drift import (
    ALL,
    MIN_QUERIES,
    MOST_LANGUAGES,
    OTHER,
    UNKNOWN,
    Calibration,
    DriftWatch,
    Reading,
)
from streams.selection.selector import Selector
from tests.unit.streams.selection.topics import TopicEncoder, examples

LEGAL = "legal-qa-v1@1.0.0"
WINDOW = 120.0


def calibration(
    scores: Sequence[float], languages: Sequence[str | None], threshold: float = -1.0
) -> Calibration:
    rows = np.arange(len(scores))
    texts = CalibrationTexts(rows, np.array(scores, np.float32), tuple(languages))
    return texts, Thresholds(threshold, threshold)


def spread(count: int, low: float = 0.0, high: float = 1.0) -> list[float]:
    return np.linspace(low, high, count).tolist()


def watching(*, scores: Sequence[float], languages: Sequence[str | None]) -> DriftWatch:
    watch = DriftWatch(WINDOW)
    watch.follow({LEGAL: calibration(scores, languages)})
    return watch


def observe(
    watch: DriftWatch, scores: Iterable[float], now: float = 0.0, language: str = OTHER
) -> None:
    for score in scores:
        watch.observe(LEGAL, language, score, now)


def reading(watch: DriftWatch, language: str = ALL, now: float = 0.0) -> Reading | None:
    found = [r for r in watch.readings(now) if r.adapter == LEGAL and r.language == language]
    assert len(found) <= 1
    return found[0] if found else None


def test_queries_like_the_calibration_texts_are_no_drift() -> None:
    watch = watching(scores=spread(200), languages=["en"] * 200)
    observe(watch, spread(400))
    found = reading(watch)
    assert found is not None
    assert found.psi < 0.01 < found.by_chance


def test_queries_that_score_lower_are_drift() -> None:
    watch = watching(scores=spread(200), languages=["en"] * 200)
    observe(watch, spread(400, high=0.7))
    found = reading(watch)
    assert found is not None
    assert found.psi > max(0.25, found.by_chance)


def test_nothing_is_said_on_too_few_queries() -> None:
    watch = watching(scores=spread(200), languages=["en"] * 200)
    observe(watch, [0.1] * (MIN_QUERIES - 1))
    assert reading(watch) is None
    observe(watch, [0.1])
    assert reading(watch) is not None


def test_nothing_is_said_where_calibration_had_too_few_scores_or_one_only() -> None:
    for scores in (spread(19), [0.5] * 100, []):
        watch = watching(scores=scores, languages=["en"] * len(scores))
        observe(watch, spread(400))
        assert reading(watch) is None


def test_calibration_scores_below_the_threshold_are_left_out() -> None:
    watch = DriftWatch(WINDOW)
    watch.follow({LEGAL: calibration(spread(400, -1, 1), ["en"] * 400, threshold=0.0)})
    observe(watch, spread(400))
    found = reading(watch)
    assert found is not None
    assert found.psi < 0.01


def test_a_language_is_compared_with_its_own_scores() -> None:
    german, english = spread(100, 0.0, 0.4), spread(100, 0.6, 1.0)
    watch = watching(scores=german + english, languages=["de"] * 100 + ["en"] * 100)
    observe(watch, spread(200, 0.0, 0.4), language="de")
    observe(watch, spread(200, 0.0, 0.4), language="en")
    unmoved, moved = reading(watch, "de"), reading(watch, "en")
    assert unmoved is not None and moved is not None
    assert unmoved.psi < 0.01
    assert moved.psi > 1


def test_a_language_with_too_few_scores_counts_among_all_only() -> None:
    watch = watching(scores=spread(110), languages=["en"] * 100 + ["de"] * 10)
    observe(watch, spread(200), language="de")
    assert reading(watch, "de") is None
    assert reading(watch) is not None


def test_what_an_adapter_has_no_examples_in_is_not_told_apart() -> None:
    watch = watching(scores=spread(4), languages=["en", "en", "de", None])
    assert watch.language(LEGAL, "en") == "en"
    assert watch.language(LEGAL, "de") == "de"
    assert watch.language(LEGAL, "fr") == OTHER
    assert watch.language(LEGAL, None) == UNKNOWN
    assert watch.language("never-learnt-v1@1.0.0", "en") == OTHER


def test_languages_are_bounded_and_never_take_the_words_for_none() -> None:
    tags = [f"x{number}" for number in range(10) for _ in range(number + 1)]
    watch = watching(scores=spread(len(tags) + 300), languages=tags + [ALL, OTHER, UNKNOWN] * 100)
    known = [tag for tag in sorted(set(tags)) if watch.language(LEGAL, tag) == tag]
    assert known == [f"x{number}" for number in range(10 - MOST_LANGUAGES, 10)]
    assert watch.language(LEGAL, ALL) == OTHER


def test_queries_leave_the_window() -> None:
    watch = watching(scores=spread(200), languages=["en"] * 200)
    observe(watch, [0.05] * 200, now=1000.0)
    observe(watch, spread(200), now=1000.0 + WINDOW)
    found = reading(watch, now=1000.0 + WINDOW)
    assert found is not None
    assert found.psi < 0.01
    assert reading(watch, now=1000.0 + 3 * WINDOW) is None


def test_what_was_counted_stays_unless_the_scores_changed() -> None:
    watch = watching(scores=spread(200), languages=["en"] * 200)
    observe(watch, spread(200))
    other = "tax-qa-v1@1.0.0"
    watch.follow(
        {LEGAL: calibration(spread(200), ["en"] * 200), other: calibration(spread(50), [None] * 50)}
    )
    assert reading(watch) is not None
    watch.follow({LEGAL: calibration(spread(200, 0.2), ["en"] * 200)})
    assert reading(watch) is None


def test_a_forgotten_adapter_is_no_longer_watched() -> None:
    watch = watching(scores=spread(200), languages=["en"] * 200)
    observe(watch, spread(200))
    watch.follow({})
    observe(watch, spread(200))
    assert list(watch.readings(0.0)) == []


def test_what_a_selector_learns_can_be_watched() -> None:
    selector = Selector(TopicEncoder())
    selector.learn(LEGAL, examples("law", 300))
    selector.learn("tiny-v1@1.0.0", examples("medicine", 1))
    watch = DriftWatch(WINDOW)
    watch.follow(selector.calibrations())
    texts = [f"law new {number}" for number in range(1000)]
    for kind, is_drift in ((texts, False), ([f"law {n % 300}" for n in range(1000)], True)):
        for decision in selector.select(selector.encoder.encode(kind), kind, ["en"] * 1000):
            if decision.adapter and decision.score is not None:
                observe(watch, [decision.score], language="en", now=WINDOW * 2 * is_drift)
        found = reading(watch, "en", now=WINDOW * 2 * is_drift)
        assert found is not None
        assert (found.psi > max(0.25, found.by_chance)) == is_drift
        assert math.isfinite(found.psi)


@pytest.mark.parametrize("score", [-1.0, 1.0, math.inf, -math.inf])
def test_any_score_falls_into_a_bin(score: float) -> None:
    watch = watching(scores=spread(200), languages=["en"] * 200)
    observe(watch, [score] * MIN_QUERIES)
    found = reading(watch)
    assert found is not None
    assert math.isfinite(found.psi)
