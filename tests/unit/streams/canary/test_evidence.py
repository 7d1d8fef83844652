"""What the evidence promises, by simulation: how often it errs, and how soon it tells."""

import math
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.canary.evidence import Counts, Evidence, nearest
from tests.unit.schemas.strategies import times

TRIALS = 400
WINDOWS = 60
ALPHA = 0.05
DECIDES = math.log(1 / ALPHA)


class Crowd(NamedTuple):
    """Many trials at once: where each of them was decided, by the canary's outcomes until then."""

    worse: NDArray[np.float64]
    fine: NDArray[np.float64]

    def share(self, towards: str) -> float:
        return float(np.isfinite(getattr(self, towards)).mean())

    def median(self, towards: str) -> float:
        return float(np.median(getattr(self, towards)))


def crowd(
    others: float,
    canary: float,
    margin: float,
    *,
    per_window: tuple[float, float] = (8, 40),
    outage: bool = False,
    late: int = 0,
    before: int = 5,
    windows: int = WINDOWS,
) -> Crowd:
    """Trials of windows of random size; the canary turns to its own share after ``late`` ones.

    In an ``outage`` every fifth window is ten times as bad for both.
    """
    draw = np.random.default_rng(7)
    worse, fine = Evidence(margin, against_fine=True), Evidence(margin, against_fine=False)
    at = Crowd(np.full(TRIALS, np.inf), np.full(TRIALS, np.inf))
    seen = np.zeros(TRIALS)
    for window in range(-before, windows):
        factor = 10.0 if outage and window % 5 == 0 else 1.0
        base = min(others * factor, 1.0)
        differs = canary - others if window >= late else 0.0
        sizes = [draw.poisson(mean, TRIALS) for mean in per_window]
        bad_c = draw.binomial(sizes[0], min(base + differs, 1.0))
        bad_b = draw.binomial(sizes[1], base)
        if window < 0:
            worse.learn(Counts(sizes[1], bad_b))
            fine.learn(Counts(sizes[1], bad_b))
            continue
        for evidence in (worse, fine):
            evidence.add(Counts(sizes[0], bad_c), Counts(sizes[1], bad_b))
        seen += sizes[0]
        for evidence, when in ((worse, at.worse), (fine, at.fine)):
            when[:] = np.minimum(when, np.where(evidence.log >= DECIDES, seen, np.inf))
    return at


def at_most(alpha: float) -> float:
    """Alpha and four standard deviations of a share of the trials."""
    return float(alpha + 4 * (alpha * (1 - alpha) / TRIALS) ** 0.5)


@pytest.mark.parametrize("others", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("margin", [0.02, 0.1])
def test_a_version_at_the_very_margin_is_seldom_told_to_be_on_either_side(
    others: float, margin: float
) -> None:
    found = crowd(others, others + margin, margin)
    assert found.share("worse") <= at_most(ALPHA)
    assert found.share("fine") <= at_most(ALPHA)


def test_an_outage_of_both_is_nobodys_fault() -> None:
    found = crowd(0.03, 0.05, 0.02, outage=True)
    assert found.share("worse") <= at_most(ALPHA)
    assert found.share("fine") <= at_most(ALPHA)
    assert crowd(0.03, 0.03, 0.02, outage=True).share("worse") <= 0.01


def test_windows_of_very_different_sizes_prove_no_more() -> None:
    found = crowd(0.05, 0.1, 0.05, per_window=(40, 3))
    assert found.share("worse") <= at_most(ALPHA)
    assert found.share("fine") <= at_most(ALPHA)


def test_a_good_version_is_never_blamed_and_soon_shown_to_be_fine() -> None:
    found = crowd(0.001, 0.001, 0.02)
    assert found.share("worse") == 0
    assert found.share("fine") > 0.9
    assert found.median("fine") <= 300


def test_one_that_is_much_worse_is_found_in_a_few_answers() -> None:
    found = crowd(0.01, 0.5, 0.02)
    assert found.share("worse") == 1
    assert found.median("worse") <= 25
    assert found.share("fine") == 0


def test_one_that_is_a_little_worse_takes_longer() -> None:
    found = crowd(0.01, 0.13, 0.02)
    assert found.share("worse") > 0.95
    assert 25 < found.median("worse") <= 150


def test_one_that_turns_bad_late_is_found_all_the_same() -> None:
    found = crowd(0.01, 0.5, 0.02, late=40)
    assert found.share("worse") > 0.99
    assert 320 < found.median("worse") <= 400  # 40 windows of 8 are good


def test_ratings_between_0_and_1_count_as_parts() -> None:
    draw = np.random.default_rng(3)
    fine, worse = Evidence(0.1, against_fine=False), Evidence(0.1, against_fine=True)
    for _ in range(60):
        mine, theirs = draw.beta(8, 2, 10), draw.beta(8, 2, 40)
        pair = Counts(10, (1 - mine).sum()), Counts(40, (1 - theirs).sum())
        fine.add(*pair)
        worse.add(*pair)
    assert fine.log >= DECIDES
    assert worse.log < 0.5


class TestOneWindow:
    @times(200)
    @given(
        st.floats(0.0, 0.5),
        st.floats(0.0, 1.0),
        st.floats(0.0, 1.0),
        st.integers(1, 4),
        st.integers(1, 4),
        st.booleans(),
    )
    def test_its_weight_is_1_at_most_in_expectation_whatever_the_truth(
        self, margin: float, base: float, beyond: float, n_c: int, n_b: int, against_fine: bool
    ) -> None:
        """The promise itself, by all outcomes of a window and not by chance."""
        theta_b = base * (1 - margin)
        apart = margin * (1 - beyond) if against_fine else margin + beyond * (1 - margin - theta_b)
        theta_c = min(theta_b + apart, 1.0)
        outcomes = list(product(range(n_c + 1), range(n_b + 1)))
        bad_c, bad_b = np.array(outcomes, dtype=np.float64).T
        evidence = Evidence(margin, against_fine=against_fine)
        evidence.learn(Counts(10, 2))
        evidence.add(Counts(n_c, bad_c), Counts(n_b, bad_b))
        likely = [binomial(n_c, c, theta_c) * binomial(n_b, b, theta_b) for c, b in outcomes]
        assert np.dot(likely, np.exp(evidence.log)) <= 1 + 1e-6

    def test_one_without_outcomes_of_either_proves_nothing(self) -> None:
        evidence = Evidence(0.05, against_fine=True)
        evidence.add(Counts(0, 0), Counts(0, 0))
        assert evidence.log == pytest.approx(0, abs=1e-9)

    def test_the_highest_evidence_is_remembered(self) -> None:
        evidence = Evidence(0.05, against_fine=True)
        evidence.add(Counts(20, 20), Counts(20, 0))
        highest = float(evidence.log)
        evidence.add(Counts(500, 0), Counts(500, 0))
        assert evidence.highest == highest
        assert evidence.log < highest


class TestNearest:
    @times(300)
    @given(
        st.floats(0.0, 0.99),
        st.floats(1e-4, 1 - 1e-4),
        st.floats(0.0, 1.0),
        st.floats(0.0, 1e5),
        st.floats(0.0, 1e5),
    )
    def test_it_is_what_halving_finds(
        self, margin: float, a_c: float, base: float, n_c: float, n_b: float
    ) -> None:
        a_b = 1e-4 + base * (1 - margin - 2e-4)
        parts = (np.array([part]) for part in (a_c, a_b, n_c, n_b))
        found = nearest(*parts, margin)
        if n_c + n_b > 1e-6:
            assert found == pytest.approx(by_halving(a_c, a_b, n_c, n_b, margin), abs=1e-9)
        assert 0 < found < 1 - margin

    @pytest.mark.parametrize(
        ("margin", "a_c", "a_b", "n_c", "n_b"),
        [
            (1e-4, 1e-4, 1e-4, 58632.0, 6.1e-5),
            (1e-4, 1.0000857e-4, 0.9, 0.005, 0.0),
            (1e-4, 1.00000075e-4, 0.4, 1.0, 0.0),
            (0.5, 0.5, 0.1, 1e5, 1e-5),
        ],
    )
    def test_it_is_found_where_two_roots_nearly_meet(
        self, margin: float, a_c: float, a_b: float, n_c: float, n_b: float
    ) -> None:
        parts = (np.array([part]) for part in (a_c, a_b, n_c, n_b))
        wanted = pytest.approx(by_halving(a_c, a_b, n_c, n_b, margin), abs=2e-12)
        assert nearest(*parts, margin) == wanted

    def test_many_at_once(self) -> None:
        a_c, a_b = np.linspace(0.01, 0.99, 50), np.linspace(0.9, 0.001, 50)
        found = nearest(a_c, a_b, np.array([3.0]), np.array([40.0]), 0.02)
        for each, one, other in zip(found, a_c, a_b, strict=True):
            assert each == pytest.approx(by_halving(one, other, 3.0, 40.0, 0.02), abs=1e-12)


def by_halving(a_c: float, a_b: float, n_c: float, n_b: float, margin: float) -> float:
    """Where the divergence's slope changes its sign, to half a billionth of a billionth."""
    low, length = 0.0, 1 - margin
    for _ in range(60):
        length /= 2
        o_b = low + length
        o_c = o_b + margin
        slope = n_c * (o_c - a_c) * o_b * (1 - o_b) + n_b * (o_b - a_b) * o_c * (1 - o_c)
        low = o_b if slope < 0 else low
    return low + length / 2


def binomial(number: int, bad: int, share: float) -> float:
    return math.comb(number, bad) * share**bad * (1 - share) ** (number - bad)
