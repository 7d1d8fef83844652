"""Selection among ever more adapters: time, memory, and the decisions that a shortlist changes."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import psutil

from benchmarks.figures import Aim, Figures
from benchmarks.selection_scale.adapters import MadeUpEncoder, Vectors
from streams.selection.selector import Decision, Selector

#: Queries that decisions are compared on, and the share of them that belongs to no adapter.
_QUERIES = 3_000
_ELSEWHERE = 0.2
#: The adapters that the aims are for.
_AIMED_AT = 1_000
_AIMS = {1: Aim(5, at_most=True), 128: Aim(100, at_most=True)}
_ALIKE = Aim(0.995)
_SIZES = (1, 128)
#: Calls of each size that are timed.
_TIMED = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries and their vectors (n, d)."""

    texts: list[str]
    vectors: Vectors

    def parts(self, size: int) -> list["Asked"]:
        """As many of that size as there are."""
        return [
            Asked(self.texts[start : start + size], self.vectors[start : start + size])
            for start in range(0, len(self.texts) - size + 1, size)
        ]

    def decisions(self, selector: Selector) -> list[Decision]:
        """What the selector makes of them; their language is stated."""
        return selector.select(self.vectors, self.texts, ["en"] * len(self.texts))


def measure(made: MadeUpEncoder, counts: Sequence[int], figures: Figures) -> None:
    """Time, memory and decisions with each count of adapters in turn; counts ascend."""
    selector = Selector(made, exact_up_to=0)
    before = psutil.Process().memory_info().rss
    for known, count in zip([0, *counts], counts, strict=False):
        group = f"{count} adapters"
        new = {_name(n): selector.study(made.examples(n)) for n in range(known, count)}
        spent = _ms(partial(selector.change, new))
        figures.add(group, f"learning {count - known} more, studied before", spent / 1000, "s")
        taken = psutil.Process().memory_info().rss - before
        figures.add(group, "memory of what is learnt", taken / 1e6, "MB")
        again = {_name(count - 1): selector.study(made.examples(count - 1))}
        spent = _ms(partial(selector.change, again))
        figures.add(group, "learning one again, studied before", spent / 1000, "s")
        aims = _AIMS if count >= _AIMED_AT else {}
        add_comparison(group, selector, _asked(made, count), figures, aims)


def add_comparison(
    group: str, selector: Selector, asked: Asked, figures: Figures, aims: Mapping[int, Aim]
) -> None:
    """The times with all adapters and by shortlist, and how many decisions are the same."""
    exact = _comparing_with_all(selector)
    reach = selector.reach or len(selector.adapters)
    figures.add(group, "adapters that a query is compared with", reach, "")
    for size in _SIZES:
        parts = asked.parts(size)[:_TIMED]
        figures.add(group, f"{size} at once, with all", _median_ms(exact, parts), "ms")
        spent = _median_ms(selector, parts)
        figures.add(group, f"{size} at once, by shortlist", spent, "ms", aims.get(size))
    pairs = zip(asked.decisions(exact), asked.decisions(selector), strict=True)
    same = float(np.mean([one.adapter == other.adapter for one, other in pairs]))
    figures.add(group, "share of decisions that are the same", same, "", _ALIKE)


def _comparing_with_all(selector: Selector) -> Selector:
    """The same selector without a shortlist: learning all once more would take minutes."""
    exact, state = copy(selector), selector._state
    exact._state = replace(state, scoring=replace(state.scoring, shortlist=None))
    return exact


def _median_ms(selector: Selector, parts: Sequence[Asked]) -> float:
    return median(_ms(partial(part.decisions, selector)) for part in parts)


def _name(number: int) -> str:
    return f"adapter-{number:05}"


def _asked(made: MadeUpEncoder, adapters: int) -> Asked:
    """Queries of adapters drawn at random, and of as many others that nobody learnt."""
    rng = np.random.default_rng(adapters)
    drawn = rng.integers(0, adapters, _QUERIES)
    drawn[rng.random(_QUERIES) < _ELSEWHERE] += adapters
    texts = [made.query(int(adapter), number) for number, adapter in enumerate(drawn)]
    return Asked(texts, made.encode(texts))


def _ms(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return (perf_counter() - started) * 1000
