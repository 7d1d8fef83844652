"""The centroids by which an adapter's likeness to a text is guessed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.selection.centroids import Centroids, axes_of, sketched
from tests.unit.streams.selection.topics import ALL_AXES, DIMENSIONS, TopicEncoder, vectors

ENCODER = TopicEncoder()


def of_topics(*topics: str, each: int = 40) -> list[str]:
    return [f"{topic} {number}" for topic in topics for number in range(each)]


@pytest.mark.parametrize(("examples", "count"), [(1, 1), (8, 1), (9, 2), (200, 25), (5_000, 250)])
def test_more_examples_have_more_centroids_up_to_a_bound(examples: int, count: int) -> None:
    assert len(Centroids.of(vectors(examples)).vectors) == count


@given(st.integers(1, 300), st.integers(0, 99))
def test_centroids_are_of_unit_length(examples: int, seed: int) -> None:
    norms = np.linalg.norm(Centroids.of(vectors(examples, seed)).vectors, axis=1)
    assert norms == pytest.approx(np.ones(len(norms)), abs=1e-5)


def test_every_topic_of_an_adapter_has_a_centroid_near_it() -> None:
    topics = ("law", "medicine", "music")
    centroids = Centroids.of(ENCODER.encode(of_topics(*topics)))
    assert (centroids.likeness(TopicEncoder(noise=0.0).encode(topics)) > 0.9).all()


def test_examples_that_are_all_alike_share_one_centroid() -> None:
    alike = np.repeat(vectors(1), 100, axis=0)
    assert Centroids.of(alike).vectors == pytest.approx(alike[:1], abs=1e-6)


def test_likeness_without_a_text_is_that_to_the_rest_of_its_group() -> None:
    examples = ENCODER.encode(of_topics("law", each=4))
    rest = examples[1:].sum(axis=0)
    found = Centroids.of(examples).likeness_without(examples[:1])
    assert found == pytest.approx([examples[0] @ rest / np.linalg.norm(rest)], abs=1e-5)


def test_a_text_that_is_alone_is_like_nothing_without_itself() -> None:
    assert Centroids.of(vectors(1)).likeness_without(vectors(1)) == pytest.approx([-1.0])


def test_axes_show_what_differs() -> None:
    flat = vectors(50)
    flat[:, 5:] = 0.0
    axes = axes_of(flat)
    assert axes.shape == (DIMENSIONS, 5)
    shown, whole = sketched(flat, axes), sketched(flat, ALL_AXES)
    assert shown @ shown.T == pytest.approx(whole @ whole.T, abs=1e-5)


def test_there_are_never_more_axes_than_dimensions_or_than_vectors() -> None:
    assert axes_of(vectors(500)).shape == (DIMENSIONS, DIMENSIONS)
    assert axes_of(vectors(3)).shape == (DIMENSIONS, 3)
