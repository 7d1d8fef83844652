"""From scores to decisions, for a batch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from schemas.records import Candidate
from streams.selection import reasons
from streams.selection.index import Vectors
from streams.selection.rivalry import Rivalry, ThresholdTable

MAX_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """The adapter for a query, ``id@version``, or None: none of them, the base model answers.

    ``score`` within [-1, 1] and ``threshold`` are those of the nearest adapter, chosen or not;
    ``margin`` is its lead over the second, None where there is none. ``probability`` says how
    likely the nearest adapter is the right one, if queries on and off topic are equally
    frequent; None where nothing tells. ``candidates`` are the nearest adapters, best first.
    """

    adapter: str | None
    score: float | None = None
    margin: float | None = None
    probability: float | None = None
    threshold: float | None = None
    reason: str = reasons.NO_ADAPTERS
    language: str | None = None
    candidates: tuple[Candidate, ...] = ()


def decide(
    adapters: Sequence[str],
    scores: Vectors,
    languages: Sequence[str | None],
    table: ThresholdTable,
    rivalry: Rivalry,
) -> list[Decision]:
    """A decision for each row of ``scores`` (n, adapters); ``table`` has a row per adapter.

    The nearest adapter answers if its score reaches its threshold for the query's language and
    its lead over the second reaches the margin.
    """
    if not adapters:
        return [Decision(None, language=language) for language in languages]
    ranking = np.argsort(-scores, axis=1, kind="stable")[:, :MAX_CANDIDATES]
    ranked = np.take_along_axis(scores, ranking, axis=1).astype(np.float64)
    thresholds = table.of_winners(ranking[:, 0], languages)
    margins = (ranked[:, 0] - ranked[:, 1]).tolist() if len(adapters) > 1 else repeat(None)
    probabilities = rivalry.probabilities(ranked, thresholds)
    columns = (ranking.tolist(), ranked.tolist(), thresholds.tolist(), margins)
    decisions = []
    for language, probability, order, row, threshold, margin in zip(
        languages, probabilities, *columns, strict=False
    ):
        nearest = tuple(map(Candidate, [adapters[i] for i in order], row))
        bound = reasons.bound(table.rows[order[0]], language)
        is_chosen, reason = _verdict(nearest, threshold, bound, margin, rivalry.min_margin)
        decisions.append(
            Decision(
                nearest[0].adapter if is_chosen else None,
                row[0],
                margin,
                probability,
                None if math.isinf(threshold) else threshold,
                reason,
                language,
                nearest,
            )
        )
    return decisions


def _verdict(
    nearest: Sequence[Candidate],
    threshold: float,
    bound: str,
    margin: float | None,
    min_margin: float,
) -> tuple[bool, str]:
    """Whether the nearest adapter answers, and why; ``bound`` is its threshold in words."""
    best = nearest[0]
    if not best.score >= threshold:
        return False, reasons.below(best.adapter, best.score, threshold, bound)
    if margin is None:
        return True, reasons.alone(best.adapter, best.score, bound)
    second = nearest[1].adapter
    if margin < min_margin:
        return False, reasons.undecided(best.adapter, second, best.score, margin, min_margin)
    return True, reasons.ahead(best.adapter, best.score, bound, second, margin)
