"""An encoder whose idea of likeness is known, and examples for it."""

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from schemas.records import Example

DIMENSIONS = 32
ALL_AXES = np.eye(DIMENSIONS, dtype=np.float32)


class TopicEncoder:
    """Texts of one topic (their first word) lie close together, the further the less alike."""

    name = "topics"
    dimensions = DIMENSIONS

    def __init__(self, noise: float = 0.6) -> None:
        self._noise = noise

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, 32)."""
        vectors = np.array([self._vector(text) for text in texts], np.float32)
        vectors = vectors.reshape(len(texts), DIMENSIONS)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def _vector(self, text: str) -> NDArray[np.float64]:
        return _direction(text.split(" ", maxsplit=1)[0]) + self._noise * _direction(text)


@cache
def _direction(word: str) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace")).digest()[:8], "big")
    direction = np.random.default_rng(seed).normal(size=DIMENSIONS)
    unit: NDArray[np.float64] = direction / np.linalg.norm(direction)
    return unit


def examples(topic: str, count: int = 30, language: str | None = "en") -> list[Example]:
    """Texts of a topic."""
    return [Example(f"{topic} {number}", language) for number in range(count)]


def vectors(rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors (rows, 32) of any direction."""
    drawn = np.random.default_rng(seed).normal(size=(rows, DIMENSIONS)).astype(np.float32)
    unit: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit
