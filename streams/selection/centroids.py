"""The centroids of an adapter's examples, by which its likeness to a text is guessed.

They are compared in fewer dimensions, those in which everyday texts differ most. With 1,000
made-up adapters (`benchmarks.selection_scale`) the nearest one is among the first 8 for 99 % of
their queries where 8 examples share a centroid in 160 of 512 dimensions, and among the first 70
where 24 do in all 512, which costs the same. Where 4 do in 160, it is the first one, for three
times the work; classifiers help the guess, so that isn't needed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

# Examples that share a centroid, on average.
_EXAMPLES_EACH = 8
# Examples that are grouped; the rest of a large adapter's hardly lies elsewhere.
_MOST_GROUPED = 2_000
_ROUNDS = 8
_SEED = 1
_MOST_AXES = 160

_TINY = np.finfo(np.float32).tiny


def axes_of(vectors: Vectors) -> Vectors:
    """The directions in which vectors (n, d) differ most, at most 160 of them: (d, r)."""
    _, lengths, directions = np.linalg.svd(vectors, full_matrices=False)
    rank = int((lengths > 1e-4 * lengths[0]).sum())
    axes: Vectors = directions[: min(rank, _MOST_AXES)].T
    return np.ascontiguousarray(axes)


def sketched(vectors: Vectors, axes: Vectors) -> Vectors:
    """What axes (d, r) show of vectors (n, d), of unit length: (n, r)."""
    shown = vectors @ axes
    shown /= np.maximum(np.sqrt(np.einsum("ij,ij->i", shown, shown)), _TINY)[:, None]
    return shown


@dataclass(frozen=True, slots=True)
class Centroids:
    """The middles of an adapter's examples, grouped by likeness, as sketches.

    ``vectors`` (k, r) are of unit length; ``lengths`` (k,) are those of the sums that they come
    from, which is what their groups' examples weigh.
    """

    vectors: Vectors
    lengths: Vectors

    @classmethod
    def of(cls, examples: Vectors) -> "Centroids":
        """Of an adapter's sketches (m, r), not empty.

        Spherical k-means (https://doi.org/10.1023/A:1007612920971) from examples that are drawn
        with a fixed seed: the same examples have the same centroids.
        """
        drawn = np.random.default_rng(_SEED).permutation(len(examples))[:_MOST_GROUPED]
        grouped = examples[drawn]
        count = -(-len(grouped) // _EXAMPLES_EACH)
        vectors = grouped[:count]
        lengths = np.ones(count, np.float32)
        for _ in range(_ROUNDS):
            nearest = (grouped @ vectors.T).argmax(axis=1)
            by_group = np.argsort(nearest, kind="stable")
            _, starts = np.unique(nearest[by_group], return_index=True)
            sums = np.add.reduceat(grouped[by_group], starts, axis=0)
            lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
            vectors = sums / np.maximum(lengths, _TINY)[:, None]
        return cls(vectors, lengths)

    def likeness(self, texts: Vectors) -> Vectors:
        """The cosine of each sketch (n, r) to the nearest centroid, (n,)."""
        nearest: Vectors = (texts @ self.vectors.T).max(axis=1)
        return nearest

    def likeness_without(self, own: Vectors) -> Vectors:
        """The same for some of the examples (n, r), each taken out of its group before."""
        cosines = own @ self.vectors.T
        rows, group = np.arange(len(own)), cosines.argmax(axis=1)
        sums = self.lengths[group] * cosines[rows, group]
        rest = np.sqrt(np.maximum(self.lengths[group] ** 2 - 2 * sums + 1, _TINY))
        # A text that was its whole group leaves none behind.
        cosines[rows, group] = np.where(rest > 1e-3, (sums - 1) / rest, -1.0)
        nearest: Vectors = cosines.max(axis=1)
        return nearest
