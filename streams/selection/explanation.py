"""Why a query went where it went: each near adapter's standing, and the examples that made it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from streams.selection.decision import Decision
from streams.selection.index import NEIGHBOURS, Vectors
from streams.selection.material import Material

# A text that lies over the thresholds of more adapters than these is told of the nearest ones.
MAX_NEAR = 20


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An example near to a query; ``similarity`` is their cosine, within [-1, 1]."""

    text: str
    language: str | None
    similarity: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How an adapter stands to a query.

    ``threshold`` is the lowest score that counts as near in the query's language, None where the
    adapter has too few examples to be chosen. ``margin`` is the lead over the second for the
    nearest adapter (None where it is the only one), and what is missing to the nearest, a number
    up to 0, for the others. ``examples`` are its nearest, best first.
    """

    adapter: str
    score: float
    threshold: float | None
    margin: float | None
    examples: tuple[Neighbour, ...]

    @property
    def is_near(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.threshold is not None and self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and the standing of the adapters that mattered to it, best first."""

    decision: Decision
    adapters: tuple[Standing, ...]


def explain(
    decision: Decision,
    query: Vectors,
    scores: Mapping[str, float],
    material: Callable[[str], Material],
) -> Explanation:
    """What led to a decision on ``query`` (d,).

    Tells of the decision's candidates and of every other adapter whose score in ``scores``
    reaches its threshold, up to ``MAX_NEAR`` in all.
    """
    ranked = {candidate.adapter: candidate.score for candidate in decision.candidates}
    for adapter in sorted(scores, key=lambda name: -scores[name]):
        if len(ranked) >= MAX_NEAR:
            break
        if scores[adapter] >= material(adapter).thresholds.of(decision.language):
            ranked.setdefault(adapter, scores[adapter])
    best = max(ranked.values(), default=0.0)
    standings = (
        _standing(
            adapter,
            score,
            decision.margin if rank == 0 else score - best,
            material(adapter),
            query,
            decision.language,
        )
        for rank, (adapter, score) in enumerate(ranked.items())
    )
    return Explanation(decision, tuple(standings))


def _standing(
    adapter: str,
    score: float,
    margin: float | None,
    material: Material,
    query: Vectors,
    language: str | None,
) -> Standing:
    threshold = material.thresholds.of(language)
    return Standing(
        adapter,
        score,
        None if math.isinf(threshold) else threshold,
        margin,
        _nearest(material, query),
    )


def _nearest(material: Material, query: Vectors) -> tuple[Neighbour, ...]:
    similarities = np.clip(material.vectors @ query, -1.0, 1.0)
    nearest = np.argsort(-similarities, kind="stable")[:NEIGHBOURS]
    return tuple(
        Neighbour(
            material.examples[row].text, material.examples[row].language, float(similarities[row])
        )
        for row in nearest
    )
