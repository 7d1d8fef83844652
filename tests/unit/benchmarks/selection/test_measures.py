"""What is counted, against what it is defined as."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.selection.measures import (
    auroc,
    calibration_error,
    mean,
    rejecting,
    weighed,
)

scores = arrays(np.float64, st.integers(1, 50), elements=st.floats(-1, 1, width=16))


@given(scores, scores)
def test_auroc_is_how_often_the_in_scope_score_is_higher(high: np.ndarray, low: np.ndarray) -> None:
    inside = np.array([True] * len(high) + [False] * len(low))
    above = (high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean()
    assert auroc(np.concatenate([high, low]), inside) == pytest.approx(above)


def test_auroc_needs_both_kinds() -> None:
    assert math.isnan(auroc(np.ones(3), np.ones(3, bool)))


@given(scores, st.floats(0, 1))
def test_at_most_the_share_lies_below_the_rejecting_score(values: np.ndarray, share: float) -> None:
    assert (values < rejecting(values, share)).mean() <= share


def test_of_nothing_nothing_is_counted() -> None:
    assert math.isnan(rejecting(np.empty(0), 0.05))
    assert math.isnan(mean(np.empty(0, bool)))


@given(st.lists(st.booleans(), min_size=1), st.floats(0, 1))
def test_strangers_weigh_as_they_are_said_to(flags: list[bool], strangers: float) -> None:
    inside = np.array(flags)
    weights = weighed(inside, strangers)
    assert weights.sum() == pytest.approx(1)
    if inside.any() and not inside.all():
        assert weights[~inside].sum() == pytest.approx(strangers)


def test_a_probability_that_comes_true_has_no_error() -> None:
    probabilities = np.array([0.25] * 4 + [1.0] * 2)
    right = np.array([True, False, False, False, True, True])
    assert calibration_error(probabilities, right, np.full(6, 1 / 6)) == pytest.approx(0)


def test_a_probability_is_as_wrong_as_it_is_far_off() -> None:
    probabilities = np.array([0.9, 0.9, 0.1, np.nan])
    right = np.array([True, False, False, True])
    # Weights 1/4, 1/4 and 1/2 of what is stated: |0.9 - 0.5| and |0.1 - 0|.
    weights = np.array([0.1, 0.1, 0.2, 0.6])
    assert calibration_error(probabilities, right, weights) == pytest.approx(0.2 + 0.05)


def test_without_a_probability_there_is_no_error_to_state() -> None:
    assert math.isnan(calibration_error(np.full(2, np.nan), np.ones(2, bool), np.full(2, 0.5)))
