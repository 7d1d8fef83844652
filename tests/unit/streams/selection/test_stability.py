"""The population stability index, and what chance alone makes of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.selection.stability import (
    CHANCE,
    MOST_BINS,
    ScoreBins,
    index_by_chance,
    stability_index,
)

counts = st.integers(2, 12).flatmap(
    lambda bins: st.tuples(
        *[st.lists(st.integers(0, 10_000), min_size=bins, max_size=bins) for _ in range(2)]
    )
)
scores = st.lists(st.floats(-1, 1, width=32), max_size=300).map(lambda s: np.array(s, np.float32))


#: Less than where all scores lie beyond the last bin, which no shift can pass.
SHIFTS = (0.0, 0.02, 0.05, 0.08, 0.12)


def normal(mean: float, count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(mean, 0.1, count).astype(np.float32)


def found(bins: ScoreBins, queries: NDArray[np.float32]) -> list[int]:
    counted = [0] * len(bins.counts)
    for score in queries.tolist():
        counted[bins.place(score)] += 1
    return counted


@given(counts)
def test_the_index_is_never_negative_and_always_a_number(both: tuple[list[int], list[int]]) -> None:
    index = stability_index(*both)
    assert index >= 0
    assert math.isfinite(index)


@given(counts)
def test_it_is_the_same_in_both_directions_and_zero_for_equals(
    both: tuple[list[int], list[int]],
) -> None:
    one, other = both
    assert stability_index(one, other) == pytest.approx(stability_index(other, one))
    assert stability_index(one, one) == 0


def test_it_is_the_formula() -> None:
    expected, now = [1000, 1000, 2000], [2000, 1000, 1000]
    by_hand = (0.5 - 0.25) * math.log(0.5 / 0.25) + (0.25 - 0.5) * math.log(0.25 / 0.5)
    assert stability_index(expected, now) == pytest.approx(by_hand, rel=2e-3)


@given(st.lists(st.sampled_from(SHIFTS), min_size=2, unique=True).map(sorted))
def test_it_grows_with_the_shift(shifts: list[float]) -> None:
    bins = ScoreBins.of(normal(0.5, 1000))
    assert bins is not None
    indices = [stability_index(bins.counts, found(bins, normal(0.5, 1000) + s)) for s in shifts]
    assert indices == sorted(indices)


@given(scores)
def test_every_score_falls_into_one_of_the_bins_that_its_like_were_counted_in(
    sample: NDArray[np.float32],
) -> None:
    bins = ScoreBins.of(sample)
    if bins is None:
        assert len(sample) < 20 or np.unique(sample).size == 1
        return
    assert found(bins, sample) == list(bins.counts)
    assert bins.total == len(sample)
    assert 2 <= len(bins.counts) <= MOST_BINS
    assert list(bins.edges) == sorted(set(bins.edges))
    assert min(bins.counts) > 0


def test_bins_are_deciles_where_there_are_scores_enough_and_wider_where_not() -> None:
    many, few = ScoreBins.of(normal(0.5, 1000)), ScoreBins.of(normal(0.5, 50))
    assert many is not None and few is not None
    assert many.counts == (100,) * 10
    assert few.counts == (10,) * 5
    assert ScoreBins.of(normal(0.5, 19)) is None


@pytest.mark.parametrize(("expected", "now"), [(20, 100), (50, 200), (200, 1000), (1000, 100)])
def test_chance_alone_hardly_ever_exceeds_what_is_ascribed_to_it(expected: int, now: int) -> None:
    draws = 2000
    exceeded = 0
    for seed in range(draws):
        bins = ScoreBins.of(normal(0.5, expected, seed))
        assert bins is not None
        index = stability_index(bins.counts, found(bins, normal(0.5, now, draws + seed)))
        exceeded += index > index_by_chance(expected, now, len(bins.counts))
    assert exceeded / draws <= 5 * CHANCE


@pytest.mark.parametrize(("bins", "chi_square"), [(2, 10.828), (5, 18.467), (10, 27.877)])
def test_chance_is_the_upper_quantile_of_chi_square(bins: int, chi_square: float) -> None:
    assert index_by_chance(2, 2, bins) == pytest.approx(chi_square, rel=0.04)
