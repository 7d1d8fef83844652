"""One examination of a router: what it learns, what its thresholds may see, what it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.selection.queries import LabelledQuery
from schemas.records import Example


@dataclass(frozen=True, slots=True)
class Trial:
    """``examples`` are each adapter's own; ``fitting`` may be seen to set thresholds by, and is
    empty where there is nothing but the examples; ``asked`` is what counts.
    """

    examples: Mapping[str, Sequence[Example]]
    fitting: Sequence[LabelledQuery]
    asked: Sequence[LabelledQuery]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a router said of n queries.

    ``nearest`` is the adapter it ranks first, None where it names none; ``chosen`` the one that
    it would have answer, None for nobody. ``scores`` (n,) are what it accepts or rejects by,
    higher for accepting; ``probabilities`` (n,) that the nearest is right, NaN where it says none.
    """

    nearest: tuple[str | None, ...]
    chosen: tuple[str | None, ...]
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    def part(self, rows: slice) -> "Answers":
        """Those of some of the queries."""
        return Answers(
            self.nearest[rows], self.chosen[rows], self.scores[rows], self.probabilities[rows]
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answers to a trial's two kinds of queries; ``seconds`` went by for one asked query,
    its encoding not counted.

    ``strangers`` is how frequent, within 0..1, the router's probabilities take queries to be that
    belong to no adapter.
    """

    fitting: Answers
    asked: Answers
    seconds: float
    strangers: float


class Contender(Protocol):
    """Something that routes queries by examples."""

    @property
    def name(self) -> str:
        """As the tables call it."""
        ...

    def examined(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Takes each trial from the start: nothing is kept from one to the next."""
        ...


def right(queries: Sequence[LabelledQuery], adapters: Sequence[str | None]) -> NDArray[np.bool_]:
    """Whether each query, (n,), has the adapter that it belongs to."""
    pairs = zip(queries, adapters, strict=True)
    return np.array([query.adapter == adapter for query, adapter in pairs], bool)


def in_scope(queries: Sequence[LabelledQuery]) -> NDArray[np.bool_]:
    """Whether each query, (n,), belongs to an adapter."""
    return np.array([query.adapter is not None for query in queries], bool)


def missing(adapters: Sequence[str | None]) -> NDArray[np.bool_]:
    """Whether each query, (n,), was left to nobody."""
    return np.array([adapter is None for adapter in adapters], bool)
