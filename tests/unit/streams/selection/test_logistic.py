"""Logistic regression, held to scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from streams.selection import logistic


def two_classes(
    rows: int, columns: int, share: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows (n, d) of which the positive ones lie to one side; some of each."""
    random = np.random.default_rng(seed)
    is_positive = random.random(rows) < share
    is_positive[:2] = [True, False]
    return random.normal(size=(rows, columns)) + is_positive[:, None], is_positive


@given(
    rows=st.integers(2, 200),
    columns=st.integers(1, 20),
    share=st.floats(0.02, 0.98),
    freedom=st.floats(0.01, 100.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_finds_scikit_learns_plane(
    rows: int, columns: int, share: float, freedom: float, seed: int
) -> None:
    vectors, is_positive = two_classes(rows, columns, share, seed)
    counts = np.random.default_rng(seed + 1).uniform(0.1, 2.0, rows)
    ours = logistic.fit(vectors, is_positive, counts, freedom=freedom)
    theirs = LogisticRegression(C=freedom, max_iter=1_000).fit(vectors, is_positive, counts)
    assert ours.weights == pytest.approx(theirs.coef_[0], abs=1e-4, rel=1e-4)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-4, rel=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_balanced_classes_count_as_scikit_learn_has_them_count(share: float) -> None:
    vectors, is_positive = two_classes(300, 64, share, seed=1)
    in_single = vectors.astype(np.float32)
    ours = logistic.fit(in_single, is_positive, logistic.balanced(is_positive), least_slope=1e-3)
    theirs = LogisticRegression(class_weight="balanced", tol=1e-3).fit(in_single, is_positive)
    assert ours.weights == pytest.approx(theirs.coef_[0], abs=1e-3)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-3)
    assert logistic.balanced(is_positive).sum() == pytest.approx(len(is_positive))


def test_rows_far_from_the_plane_make_no_figure_too_large() -> None:
    rows = np.array([[-1e6], [1e6]])
    with np.errstate(all="raise", under="ignore"):
        plane = logistic.fit(rows, np.array([False, True]), np.ones(2))
    assert plane.weights[0] > 0
