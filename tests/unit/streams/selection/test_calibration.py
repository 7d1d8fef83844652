"""Thresholds fitted from examples."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.selection.calibration import (
    MAX_SCORES,
    MIN_SCORES,
    calibration_texts,
    evenly,
    fit_thresholds,
    lower_bound,
)
from streams.selection.index import nearest_mean
from tests.unit.streams.selection.topics import vectors

scores = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=200).map(np.array)
rates = st.floats(0.001, 0.5)


@given(scores, rates)
def test_at_most_the_stated_share_is_rejected(values: np.ndarray, rate: float) -> None:
    rejected = (values < lower_bound(values, rate)).mean()
    assert rejected <= rate


@given(scores, rates, rates)
def test_a_greater_share_never_lowers_the_threshold(
    values: np.ndarray, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert lower_bound(values, low) <= lower_bound(values, high)


@given(scores, rates, st.randoms())
def test_the_order_of_the_scores_makes_no_difference(
    values: np.ndarray, rate: float, random: Random
) -> None:
    shuffled = values.tolist()
    random.shuffle(shuffled)
    assert lower_bound(np.array(shuffled), rate) == pytest.approx(lower_bound(values, rate))


def test_few_scores_leave_room_below_the_lowest() -> None:
    few = np.array([0.5, 0.6, 0.7, 0.8])
    assert lower_bound(few, 0.05) < 0.5


def test_a_language_with_enough_scores_gets_its_own_threshold() -> None:
    german, english = np.linspace(0.3, 0.5, MIN_SCORES), np.linspace(0.6, 0.8, MIN_SCORES)
    languages = ["de"] * MIN_SCORES + ["en"] * MIN_SCORES
    fitted = fit_thresholds(np.concatenate([german, english]), languages, 0.8)
    assert fitted.fitted == {"de", "en"}
    assert fitted.of("de") == pytest.approx(0.3, abs=0.02)
    assert fitted.of("en") == pytest.approx(0.6, abs=0.02)


def test_a_language_with_few_scores_shares_the_overall_threshold() -> None:
    many = np.linspace(0.3, 0.5, MIN_SCORES)
    fitted = fit_thresholds(np.append(many, 0.9), ["de"] * MIN_SCORES + ["en"], 0.8)
    assert fitted.fitted == {"de"}
    assert fitted.of("en") == fitted.overall


def test_an_unknown_language_gets_the_overall_threshold() -> None:
    fitted = fit_thresholds(np.linspace(0.3, 0.5, 50), ["de"] * 50, 0.8)
    assert fitted.of(None) == fitted.overall


def test_a_language_without_examples_is_allowed_what_translation_takes() -> None:
    fitted = fit_thresholds(np.linspace(0.3, 0.5, 50), ["de"] * 50, 0.8)
    assert fitted.of("fr") == pytest.approx(0.8 * fitted.overall)


def test_an_encoder_that_cannot_translate_allows_nothing_for_it() -> None:
    fitted = fit_thresholds(np.linspace(0.3, 0.5, 50), ["de"] * 50, 0.1)
    assert fitted.of("fr") == fitted.overall


def test_a_threshold_below_zero_is_not_raised_by_translation() -> None:
    fitted = fit_thresholds(np.linspace(-0.5, -0.3, 50), ["de"] * 50, 0.8)
    assert fitted.of("fr") == fitted.overall


def test_without_scores_nothing_is_near_enough() -> None:
    fitted = fit_thresholds(np.empty(0), [], 0.8)
    assert fitted.of("de") == fitted.of(None) == math.inf


def test_enough_held_out_examples_are_compared_with_the_others() -> None:
    all_vectors = vectors(60)
    held_out = np.arange(60) < MIN_SCORES
    texts = calibration_texts(all_vectors, ["en"] * 60, held_out)
    assert texts.rows.tolist() == list(range(MIN_SCORES))
    expected = nearest_mean(all_vectors[:MIN_SCORES] @ all_vectors[MIN_SCORES:].T)
    assert texts.scores == pytest.approx(expected)


@pytest.mark.parametrize("held_out", [0, 1, MIN_SCORES - 1, 30])
def test_otherwise_each_example_is_left_out_once(held_out: int) -> None:
    own = vectors(30)
    texts = calibration_texts(own, ["en"] * 30, np.arange(30) < held_out)
    assert len(texts.scores) == 30
    for row in range(30):
        others = np.delete(own, row, axis=0)
        assert texts.scores[row] == pytest.approx(nearest_mean(own[row : row + 1] @ others.T)[0])


def test_a_single_example_says_nothing() -> None:
    texts = calibration_texts(vectors(1), ["en"], np.array([False]))
    assert len(texts.rows) == len(texts.scores) == len(texts.languages) == 0


def test_many_examples_are_thinned_out_evenly() -> None:
    texts = calibration_texts(vectors(2500), ["en"] * 2500, np.zeros(2500, bool))
    assert len(texts.scores) == len(texts.rows) == len(texts.languages) == MAX_SCORES
    assert (texts.rows[0], texts.rows[-1]) == (0, 2499)


@given(st.integers(0, 500), st.integers(1, 100))
def test_a_thinned_out_choice_is_distinct_and_in_order(count: int, most: int) -> None:
    chosen = evenly(np.arange(count), most)
    assert len(chosen) == min(count, most)
    assert (np.diff(chosen) > 0).all()


def test_a_text_is_not_compared_with_its_translation() -> None:
    german = vectors(25)
    english = german + 0.05 * vectors(25, seed=1)
    english /= np.linalg.norm(english, axis=1, keepdims=True)
    both = np.concatenate([german, english])
    spoken = ["de"] * 25 + ["en"] * 25
    none_held_out = np.zeros(50, bool)
    apart = calibration_texts(both, spoken, none_held_out, translation=0.9).scores
    beside = calibration_texts(both, spoken, none_held_out, translation=1.3).scores
    assert (beside > 0.4).all()
    assert (apart < beside).all()
    # Where the detector took one text for another language's, no language is missing to it.
    spoken[0] = "nl"
    mistaken = calibration_texts(both, spoken, none_held_out, translation=0.9).scores
    assert mistaken[0] == pytest.approx(beside[0], abs=1e-6)
