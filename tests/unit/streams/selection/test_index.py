"""The scores of queries against each adapter's examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.selection.index import (
    NEIGHBOURS,
    NOT_COMPARED,
    ExampleIndex,
    likeness,
    nearest_mean,
)
from tests.unit.streams.selection.topics import ALL_AXES, vectors


def index(**counts: int) -> ExampleIndex:
    segments = {a: vectors(count, seed) for seed, (a, count) in enumerate(counts.items())}
    return ExampleIndex.of(segments, ALL_AXES)


def test_the_nearest_weighs_most_and_those_beyond_the_fifth_nothing() -> None:
    row = np.array([[0.1, 0.9, 0.5, 0.3, 0.7, 0.2, -1.0]], np.float32)
    expected = (5 * 0.9 + 4 * 0.7 + 3 * 0.5 + 2 * 0.3 + 1 * 0.2) / 15
    assert nearest_mean(row) == pytest.approx([expected])


def test_fewer_examples_than_neighbours_are_all_counted() -> None:
    row = np.array([[0.2, 0.8]], np.float32)
    assert nearest_mean(row) == pytest.approx([(5 * 0.8 + 4 * 0.2) / 9])


def test_a_text_that_is_an_example_is_as_near_as_can_be() -> None:
    rows = np.array([[0.1, 0.99999, 0.2], [0.1, 0.99, 0.2]], np.float32)
    exact, close = likeness(rows).tolist()
    assert exact == pytest.approx(1.0, abs=1e-4)
    assert close == pytest.approx((5 * 0.99 + 4 * 0.2 + 3 * 0.1) / 12)


def test_the_similarities_given_are_left_as_they_were() -> None:
    rows = vectors(4) @ vectors(9, 1).T
    before = rows.copy()
    nearest_mean(rows)
    assert (rows == before).all()


def test_an_adapter_is_scored_by_its_own_examples_alone() -> None:
    queries = vectors(6, seed=9)
    together = index(a=7, b=3, c=20)
    for column, own in enumerate(together.segments):
        alone = ExampleIndex.of({"alone": own.vectors}, ALL_AXES).scores(queries)
        assert together.scores(queries)[:, column] == pytest.approx(alone[:, 0], abs=1e-6)


def test_an_empty_index_gives_no_columns() -> None:
    assert ExampleIndex.of({}, ALL_AXES).scores(vectors(3)).shape == (3, 0)


def test_the_order_of_the_adapters_makes_no_difference() -> None:
    a, b = vectors(4, 1), vectors(5, 2)
    one = ExampleIndex.of({"a": a, "b": b}, ALL_AXES)
    other = ExampleIndex.of({"b": b, "a": a}, ALL_AXES)
    assert one.adapters == other.adapters == ("a", "b")
    queries = vectors(6, 3)
    assert (one.scores(queries) == other.scores(queries)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 2 * NEIGHBOURS))
def test_scores_are_cosines(seed: int, queries: int, count: int) -> None:
    examples = vectors(count, seed)
    scores = ExampleIndex.of({"a": examples, "b": -examples}, ALL_AXES).scores(
        np.concatenate([examples[:1], vectors(queries, seed + 1)])
    )
    assert (scores <= 1.0).all()
    assert (scores >= -1.0).all()


@given(st.integers(0, 1000), st.integers(1, 20))
def test_another_example_never_takes_a_full_set_further_away(seed: int, more: int) -> None:
    queries, few = vectors(5, seed), vectors(NEIGHBOURS, seed + 1)
    many = np.concatenate([few, vectors(more, seed + 2)])
    before = ExampleIndex.of({"a": few}, ALL_AXES).scores(queries)
    after = ExampleIndex.of({"a": many}, ALL_AXES).scores(queries)
    assert (after >= before - 1e-6).all()


adapters = st.sampled_from("abcdef")
changes = st.lists(
    st.dictionaries(adapters, st.none() | st.integers(1, 60), min_size=1), min_size=1, max_size=5
)


@given(changes)
def test_a_changed_index_is_as_one_made_anew(steps: list[dict[str, int | None]]) -> None:
    changed = ExampleIndex.of({}, ALL_AXES)
    kept: dict[str, int] = {}
    for step in steps:
        changed = changed.changed({a: vectors(n, n) if n else None for a, n in step.items()})
        kept = {a: n for a, n in {**kept, **step}.items() if n}
    anew = ExampleIndex.of({a: vectors(n, n) for a, n in kept.items()}, ALL_AXES)
    assert changed.adapters == anew.adapters
    assert (changed.scores(vectors(7, 99)) == anew.scores(vectors(7, 99))).all()


def test_a_change_leaves_the_old_index_as_it_was_and_copies_no_examples() -> None:
    before = index(a=7, b=3)
    after = before.changed({"a": vectors(4), "c": vectors(2)})
    assert before.adapters == ("a", "b")
    assert after.adapters == ("a", "b", "c")
    assert after.segments[1] is before.segments[1]


def test_queries_may_be_compared_with_some_adapters_alone() -> None:
    whole, queries = index(a=7, b=3, c=20, d=1), vectors(40, seed=9)
    columns = np.argsort(np.random.default_rng(0).random((40, 4)), axis=1)[:, :2]
    scores = whole.scores(queries, columns)
    asked = np.zeros(scores.shape, bool)
    asked[np.arange(40)[:, None], columns] = True
    assert scores[asked] == pytest.approx(whole.scores(queries)[asked], abs=1e-6)
    assert (scores[~asked] == NOT_COMPARED).all()
