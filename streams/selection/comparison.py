"""Each adapter's examples against all adapters', themselves left out. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.selection.calibration import evenly
from streams.selection.index import Vectors, nearest_mean

MAX_COMPARED: Final = 20_000
"""Examples that are compared with all others: all of them up to this number."""

_MIN_COMPARED_EACH: Final = 20
# Held at a time: 32 MB.
_MAX_COSINES: Final = 8_000_000


@dataclass(frozen=True, slots=True)
class Compared:
    """Examples of one adapter against all adapters.

    ``rows`` (n,) are theirs among its vectors; ``own`` (n,) is their score to their own adapter
    without themselves, infinite for an only example, which can't be told where it belongs.
    ``scores``, ``closest`` and ``nearest`` (n, adapters) are the score to each adapter, the cosine
    of the most similar of its examples, and which one that is. In the own adapter's column the
    first two are -1, and the third means nothing.
    """

    rows: NDArray[np.intp]
    own: Vectors
    scores: Vectors
    closest: Vectors
    nearest: NDArray[np.intp]


def compared(vectors: Mapping[str, Vectors], most: int = MAX_COMPARED) -> Iterator[Compared]:
    """One adapter after the other, in their order; ``vectors`` are each one's unit vectors (m, d).

    Where there are more examples than ``most``, as many of each adapter are compared, spread
    evenly, but at least 20; each with all examples of the others.
    """
    segments = list(vectors.values())
    every = np.concatenate(segments)
    bounds = list(accumulate(map(len, segments), initial=0))
    each = max(_MIN_COMPARED_EACH, most // len(segments))
    size = max(1, _MAX_COSINES // len(every))
    for column, segment in enumerate(segments):
        rows = evenly(np.arange(len(segment)), each)
        parts = [
            _part(segment[rows[start : start + size]] @ every.T, bounds, column)
            for start in range(0, len(rows), size)
        ]
        own, scores, closest, nearest = (np.concatenate(part) for part in zip(*parts, strict=True))
        yield Compared(rows, own, scores, closest, nearest)


def _part(
    cosines: Vectors, bounds: list[int], column: int
) -> tuple[Vectors, Vectors, Vectors, NDArray[np.intp]]:
    """``own``, ``scores``, ``closest`` and ``nearest`` of some rows (n, examples of all)."""
    segments = [cosines[:, start:end] for start, end in pairwise(bounds)]
    own = _own_scores(segments[column])
    scores = np.column_stack([nearest_mean(segment) for segment in segments])
    nearest = np.column_stack([segment.argmax(axis=1) for segment in segments])
    closest = np.column_stack([segment.max(axis=1) for segment in segments])
    scores[:, column] = closest[:, column] = -1.0
    return own, scores, closest, nearest


def _own_scores(cosines: Vectors) -> Vectors:
    """Scores (n,) from the cosines (n, m) to all examples of the own adapter, oneself among them.

    Oneself is the most similar of all: the highest is left out.
    """
    others = cosines.shape[1] - 1
    if others == 0:
        return np.full(len(cosines), np.inf, np.float32)
    return nearest_mean(np.partition(cosines, others, axis=1)[:, :others])
