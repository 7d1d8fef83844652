"""Made-up adapters by the thousand whose examples lie to each other as real texts do.

A text's vector is a mean, which all texts share, and three random parts: its adapter's, its
topic's within the adapter, and its own. All are normal with the covariance of real encodings, of
the demo's questions. How much each part counts is theirs, too: two texts of an adapter are as
alike, about, as two questions of a demo adapter in one language, and two texts on one topic as a
question and its rewording. Each text is on one of its adapter's topics by chance.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.queries import ADAPTERS, DATA, questions
from schemas.records import Example
from streams.selection.encoder import Encoder

Vectors = NDArray[np.float32]

#: Examples on one topic, on average; an adapter has as many topics as that takes.
_TOPIC = 10
_SEED = 1
_PREFIX = "made up"


@dataclass(frozen=True, slots=True)
class Likeness:
    """How texts lie to each other.

    ``axes`` (k, d) turn k standard normal numbers into a part of mean square ``spread`` about
    ``mean`` (d,); ``adapter`` and ``topic`` are the first two parts' shares of it.
    """

    mean: Vectors
    axes: Vectors
    adapter: float
    topic: float

    def vectors(self, adapter: int, numbers: Sequence[int], topics: int) -> Vectors:
        """Unit vectors (n, d) of an adapter's texts, by their numbers; always the same ones."""
        rank, own = len(self.axes), 1.0 - self.adapter - self.topic
        of_adapter = self.adapter**0.5 * _normal(_random(adapter), rank)
        of_topic = [self.topic**0.5 * _normal(_random(adapter, t), rank) for t in range(topics)]
        parts = np.empty((len(numbers), rank), np.float32)
        for row, number in enumerate(numbers):
            random = _random(adapter, topics, number)
            parts[row] = of_adapter + of_topic[random.integers(topics)]
            parts[row] += own**0.5 * _normal(random, rank)
        vectors: Vectors = self.mean + parts @ self.axes
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def _random(*of: int) -> np.random.Generator:
    return np.random.default_rng([_SEED, *of])


def _normal(random: np.random.Generator, count: int) -> Vectors:
    return random.standard_normal(count, np.float32)


def fitted(encoder: Encoder) -> Likeness:
    """The likeness of the demo's texts to each other, as the encoder sees it."""
    plain = encoder.encode([question.text for question in questions()])
    mean = plain.mean(axis=0)
    axes = (plain - mean) / np.float32(len(plain) ** 0.5)
    spread = np.square(axes).sum()
    groups = _by_adapter_and_language()
    within = np.mean([_mean_product(encoder.encode(texts) - mean) for texts in groups]) / spread
    one, other = (encoder.encode(texts) - mean for texts in zip(*_rewordings(), strict=True))
    reworded = np.einsum("ij,ij->i", one, other).mean() / spread
    return Likeness(mean, axes, float(within), float(reworded - within))


def _by_adapter_and_language() -> list[list[str]]:
    """The demo's trained questions: a text and its translation are never in the same group."""
    groups = defaultdict(list)
    for adapter in ADAPTERS:
        for row in _rows(adapter.removesuffix("-v1")):
            groups[adapter, row["metadata"]["language"]].append(row["instruction"])
    return list(groups.values())


def _rewordings() -> list[tuple[str, str]]:
    """The demo's reworded questions, each with the trained one that it asks the same as."""
    trained = {
        row["metadata"]["id"]: row["instruction"]
        for adapter in ADAPTERS
        for row in _rows(adapter.removesuffix("-v1"))
    }
    return [(row["text"], trained[row["of"]]) for row in _rows("reworded")]


def _rows(name: str) -> list[dict[str, Any]]:
    lines = (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _mean_product(group: Vectors) -> float:
    """The mean dot product of two different rows (n, d)."""
    total = np.square(group.sum(axis=0)).sum() - np.square(group).sum()
    return float(total / (len(group) * (len(group) - 1)))


class MadeUpEncoder:
    """An ``Encoder`` of made-up texts, and of all others through the real one."""

    def __init__(self, encoder: Encoder, likeness: Likeness, each: int) -> None:
        self.name, self.dimensions = encoder.name, encoder.dimensions
        self._encoder = encoder
        self._likeness = likeness
        self._each = each

    def examples(self, adapter: int) -> list[Example]:
        """The examples of an adapter, by its number."""
        return [Example(_text(adapter, number), "en") for number in range(self._each)]

    def query(self, adapter: int, number: int) -> str:
        """Another text of that adapter."""
        return _text(adapter, self._each + number)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors (n, dimensions)."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        rows: dict[int | None, list[int]] = {}
        for row, text in enumerate(texts):
            made_up = text.startswith(_PREFIX)
            rows.setdefault(int(text.split()[-2]) if made_up else None, []).append(row)
        for adapter, own in rows.items():
            if adapter is None:
                vectors[own] = self._encoder.encode([texts[row] for row in own])
            else:
                numbers = [int(texts[row].split()[-1]) for row in own]
                topics = -(-self._each // _TOPIC)
                vectors[own] = self._likeness.vectors(adapter, numbers, topics)
        return vectors


def _text(adapter: int, number: int) -> str:
    return f"{_PREFIX} {adapter} {number}"
