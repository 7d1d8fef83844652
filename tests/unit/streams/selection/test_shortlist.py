"""Which adapters come into question for a query."""

import numpy as np
import pytest

from streams.selection.head import Heads, fit_head
from streams.selection.index import NOT_COMPARED, ExampleIndex
from streams.selection.scoring import Scoring
from streams.selection.shortlist import Shortlist
from tests.unit.streams.selection.topics import ALL_AXES, TopicEncoder, vectors

ENCODER = TopicEncoder()
TOPICS = [f"{number:02}" for number in range(50)]
INDEX = ExampleIndex.of(
    {topic: ENCODER.encode([f"{topic} {n}" for n in range(30)]) for topic in TOPICS}, ALL_AXES
)
QUERIES = ENCODER.encode([f"{topic} new {n}" for topic in TOPICS for n in range(7)])


def scoring(count: int | None) -> Scoring:
    heads = [fit_head(segment.vectors, [], vectors(40)) for segment in INDEX.segments]
    shortlist = None if count is None else Shortlist.of(INDEX, count)
    return Scoring(INDEX, Heads.of(heads), shortlist)


def test_likeness_is_that_to_the_nearest_centroid_of_each_adapter() -> None:
    likeness = Shortlist.of(INDEX, 6).likeness(QUERIES)
    by_hand = [segment.centroids.likeness(QUERIES) for segment in INDEX.segments]
    assert likeness == pytest.approx(np.array(by_hand).T, abs=1e-5)


def test_the_highest_are_as_many_as_asked_for() -> None:
    scores = np.random.default_rng(0).random((9, 50), np.float32)
    columns = Shortlist.of(INDEX, 6).highest(scores)
    assert (np.sort(columns) == np.sort(np.argsort(-scores, axis=1)[:, :6])).all()


def test_what_is_on_a_shortlist_is_scored_exactly_and_the_best_is_on_it() -> None:
    scores, all_scores = scoring(6).scores(QUERIES), scoring(None).scores(QUERIES)
    compared = scores != NOT_COMPARED
    assert (compared.sum(axis=1) == 6).all()
    assert scores[compared] == pytest.approx(all_scores[compared], abs=1e-5)
    assert (scores.argmax(axis=1) == all_scores.argmax(axis=1)).all()


def test_no_queries_have_no_scores() -> None:
    assert scoring(6).scores(QUERIES[:0]).shape == (0, 50)
