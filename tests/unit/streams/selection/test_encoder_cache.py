"""Repeated texts are encoded once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.selection.encoder import MAX_CHARACTERS
from streams.selection.encoder_cache import EncoderCache
from tests.unit.streams.selection.topics import TopicEncoder

PLAIN = TopicEncoder()


class CountingEncoder(TopicEncoder):
    """Knows what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return super().encode(texts)


def test_a_repeated_text_is_encoded_once() -> None:
    encoder = CountingEncoder()
    cache = EncoderCache(encoder, 10)
    first = cache.encode(["law 1", "law 2"])
    again = cache.encode(["law 2", "law 3", "law 1"])
    assert encoder.asked == ["law 1", "law 2", "law 3"]
    assert (again[[2, 0]] == first).all()


def test_a_text_that_is_twice_in_a_batch_is_encoded_once() -> None:
    encoder = CountingEncoder()
    vectors = EncoderCache(encoder, 10).encode(["law", "music", "law"])
    assert encoder.asked == ["law", "music"]
    assert (vectors == PLAIN.encode(["law", "music", "law"])).all()


def test_the_text_used_least_recently_goes_first() -> None:
    encoder = CountingEncoder()
    cache = EncoderCache(encoder, 2)
    for text in ("a", "b", "a", "c"):
        cache.encode([text])
    encoder.asked.clear()
    for text in ("a", "c", "b"):
        cache.encode([text])
    assert encoder.asked == ["b"]


def test_a_batch_larger_than_the_cache_is_encoded_all_the_same() -> None:
    texts = [f"law {number}" for number in range(30)]
    cache = EncoderCache(CountingEncoder(), 7)
    for _ in range(2):
        assert (cache.encode(texts) == PLAIN.encode(texts)).all()


def test_it_counts_by_the_batch_what_was_known() -> None:
    counted: list[tuple[int, int]] = []
    cache = EncoderCache(PLAIN, 10, lambda reused, encoded: counted.append((reused, encoded)))
    cache.encode(["a", "b", "a"])
    cache.encode(["b", "c"])
    cache.encode([])
    assert counted == [(1, 2), (1, 1), (0, 0)]


def test_no_texts_give_no_vectors() -> None:
    assert EncoderCache(PLAIN, 10).encode([]).shape == (0, PLAIN.dimensions)


def test_texts_that_an_encoder_reads_alike_are_one() -> None:
    encoder = CountingEncoder()
    cache = EncoderCache(encoder, 10)
    middle = "x" * MAX_CHARACTERS
    cache.encode([f"begin {middle} end"])
    cache.encode([f"begin {middle}{middle} end"])
    assert len(encoder.asked) == 1


def test_what_a_caller_does_to_its_vectors_is_not_kept() -> None:
    cache = EncoderCache(PLAIN, 10)
    for _ in range(2):
        vectors = cache.encode(["law", "music"])
        assert vectors == pytest.approx(PLAIN.encode(["law", "music"]))
        vectors[:] = 0.0


texts = st.lists(st.text(st.characters(codec=None), max_size=3), max_size=8)


@given(st.lists(texts, max_size=6), st.integers(1, 5))
def test_the_vectors_are_always_those_of_the_encoder(
    batches: list[list[str]], entries: int
) -> None:
    cache = EncoderCache(PLAIN, entries)
    for batch in batches:
        assert (cache.encode(batch) == PLAIN.encode(batch)).all()


def test_it_may_be_used_from_several_threads() -> None:
    cache = EncoderCache(PLAIN, 5)

    def wrong(start: int) -> int:
        batches = [[f"law {(start + n) % 13}", f"law {n % 7}"] for n in range(200)]
        return sum(not (cache.encode(b) == PLAIN.encode(b)).all() for b in batches)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(wrong, range(4))) == [0] * 4
