"""The classifier that tells an adapter's examples from its rivals'."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.selection.head import FOLDS, RIVALS, Heads, fit_head, folds, rivals_of
from streams.selection.index import NOT_COMPARED
from streams.selection.scoring import scored
from tests.unit.streams.selection.topics import DIMENSIONS, TopicEncoder, examples, vectors

ENCODER = TopicEncoder()
BACKGROUND = vectors(40)


def topic(name: str, count: int = 30) -> NDArray[np.float32]:
    return ENCODER.encode([example.text for example in examples(name, count)])


def test_own_texts_have_positive_log_odds_and_the_rivals_negative_ones() -> None:
    heads = Heads.of([fit_head(topic("law"), [topic("medicine")], BACKGROUND)])
    new = ENCODER.encode([f"law new {n}" for n in range(50)])
    other = ENCODER.encode([f"medicine new {n}" for n in range(50)])
    assert (heads.logits(new) > 0).mean() > 0.95
    assert (heads.logits(other) < 0).mean() > 0.95


def test_a_learnt_text_is_judged_by_a_classifier_that_has_not_seen_it() -> None:
    # Examples without anything in common: only who has seen one can tell that it is one.
    own = vectors(30)
    heads = Heads.of([fit_head(own, [vectors(300, seed=1)], vectors(300, seed=2))])
    seen = heads.logits(own).mean()
    unseen = heads.logits(own, folds(len(own))).mean()
    assert unseen < seen - 0.5


def test_a_text_that_both_have_is_no_evidence_against_either() -> None:
    law, medicine = topic("law"), topic("medicine")
    apart = fit_head(law, [medicine], BACKGROUND)
    # The copies come last, so that the parts of the others stay what they are.
    with_copies = fit_head(law, [np.concatenate([medicine, law])], BACKGROUND)
    assert with_copies.planes[0] == pytest.approx(apart.planes[0], abs=1e-3)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_examples_leave_some_parts_without_a_classifier(count: int) -> None:
    head = fit_head(topic("law", count), [], BACKGROUND)
    assert head.planes.shape == (1 + FOLDS, DIMENSIONS + 1)
    assert np.isfinite(head.planes).all()
    assert (head.planes[1] == 0).all() == (count == 1)


def test_the_rivals_are_the_nearest_others() -> None:
    centres = np.stack([topic(f"topic{n}").mean(axis=0) for n in range(RIVALS + 4)])
    found = rivals_of(centres)
    assert found.shape == (RIVALS + 4, RIVALS)
    likeness = centres @ centres.T
    for row, rivals in enumerate(found):
        assert row not in rivals
        left_out = set(range(len(centres))) - {row, *rivals.tolist()}
        assert likeness[row, rivals].min() >= likeness[row, list(left_out)].max()


@given(st.integers(1, 600), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_the_rivals_are_those_that_sorting_all_others_would_give(
    count: int, dimensions: int, seed: int
) -> None:
    # Small whole numbers: many are equally near, and then the first ones count.
    whole = np.random.default_rng(seed).integers(-2, 3, (count, dimensions)).astype(np.float32)
    likeness = whole @ whole.T
    np.fill_diagonal(likeness, -np.inf)
    ordered = np.argsort(-likeness, axis=1, kind="stable")[:, : min(RIVALS, count - 1)]
    assert np.array_equal(rivals_of(whole), ordered)


def test_an_adapter_alone_has_no_rivals() -> None:
    assert rivals_of(vectors(1)).shape == (1, 0)


@given(st.floats(-1, 1, width=32), st.floats(-(2.0**20), 2.0**20, width=32))
def test_a_score_is_bounded_and_a_sixth_of_it_is_the_classifiers_word(
    likeness: float, logit: float
) -> None:
    score, without = scored(
        np.array([likeness, likeness], np.float32), np.array([logit, 0.0], np.float32)
    ).tolist()
    assert -1 <= score <= 1
    assert abs(score - without) <= 1 / 6 + 1e-6
    assert (score - without) * logit >= 0


def test_who_is_not_compared_is_not_raised_by_a_classifier() -> None:
    likeness = np.array([[NOT_COMPARED, 0.5]], np.float32)
    assert scored(likeness, np.array([[9.0, 1.0]], np.float32))[0, 0] == NOT_COMPARED
