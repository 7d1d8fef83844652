"""Which adapters come into question for a query."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.selection.centroids import sketched
from streams.selection.index import ExampleIndex, Vectors


@dataclass(frozen=True, slots=True)
class Shortlist:
    """The centroids (k, r) of all adapters, one adapter after the other, and where each begins.

    ``count`` adapters come into question for a query, at most as many as there are.
    """

    axes: Vectors
    centroids: Vectors
    starts: NDArray[np.intp]
    count: int

    @classmethod
    def of(cls, index: ExampleIndex, count: int) -> "Shortlist":
        """A shortlist of ``count`` of its adapters."""
        vectors = [segment.centroids.vectors for segment in index.segments]
        starts = np.cumsum([0, *map(len, vectors[:-1])])
        return cls(index.axes, np.concatenate(vectors), starts, count)

    def likeness(self, queries: Vectors) -> Vectors:
        """The cosine of each query (n, d) to the nearest centroid of each adapter, as sketches.

        (n, adapters).
        """
        cosines = sketched(queries, self.axes) @ self.centroids.T
        nearest: Vectors = np.maximum.reduceat(cosines, self.starts, axis=1)
        return nearest

    def highest(self, scores: Vectors) -> NDArray[np.intp]:
        """The columns of the highest scores (n, adapters), in no order: (n, count)."""
        return np.argpartition(scores, -self.count, axis=1)[:, -self.count :]
