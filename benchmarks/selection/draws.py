"""Examples drawn at random from a set, with a seed that a draw's number is."""

from collections.abc import Sequence

import numpy as np

from benchmarks.selection.queries import LabelledQuery
from schemas.records import Example


def by_adapter(queries: Sequence[LabelledQuery]) -> dict[str, list[LabelledQuery]]:
    """The in-scope queries of each domain, the domains sorted."""
    found: dict[str, list[LabelledQuery]] = {}
    for query in sorted(queries, key=lambda query: query.domain):
        if query.adapter is not None:
            found.setdefault(query.adapter, []).append(query)
    return found


def drawn_examples(
    queries: Sequence[LabelledQuery], each: int | None, draw: int
) -> dict[str, list[Example]]:
    """``each`` of every domain's queries, or all where it is None or there are no more."""
    rng = np.random.default_rng(draw)
    examples: dict[str, list[Example]] = {}
    for adapter, own in by_adapter(queries).items():
        count = len(own) if each is None else min(each, len(own))
        rows = rng.choice(len(own), count, replace=False)
        examples[adapter] = [Example(own[row].text, own[row].language) for row in rows]
    return examples


def drawn_pairs(queries: Sequence[LabelledQuery], each: int, draw: int) -> frozenset[str]:
    """``each`` pairs of every domain, but at most half of its: the rest is left to be asked."""
    rng = np.random.default_rng(draw)
    pairs: set[str] = set()
    for own in by_adapter(queries).values():
        known = sorted({query.pair for query in own if query.pair})
        pairs.update(rng.permutation(known)[: min(each, len(known) // 2)].tolist())
    return frozenset(pairs)


def apart(queries: Sequence[LabelledQuery], languages: Sequence[str]) -> list[LabelledQuery]:
    """One query of each pair, a domain's pairs taking turns with the languages."""
    turns = _turns(queries)
    count = len(languages)
    return [q for q in queries if q.language == languages[turns[q.pair] % count]]


def translated(queries: Sequence[LabelledQuery], languages: int) -> list[LabelledQuery]:
    """All queries of so many pairs of each domain that there are as many as it has pairs."""
    turns = _turns(queries)
    return [query for query in queries if turns[query.pair] % languages == 0]


def _turns(queries: Sequence[LabelledQuery]) -> dict[str, int]:
    """Each pair's number within its domain."""
    return {
        pair: turn
        for own in by_adapter(queries).values()
        for turn, pair in enumerate(sorted({query.pair for query in own}))
    }
