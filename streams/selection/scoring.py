"""An adapter's score for a query: likeness to its nearest examples, and its classifier's word."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.selection.head import Heads
from streams.selection.index import NOT_COMPARED, ExampleIndex, Vectors

# Log-odds from which on the classifier is as sure as it can be, and the share of the score that is
# its word: of a seventh to a third, a sixth gave the best of accuracy and rejection together at
# 10, 50 and 200 examples (CLINC150).
_SURE = 5.0
_SHARE = 1 / 6


def scored(likeness: Vectors, logits: Vectors) -> Vectors:
    """Scores within [-1, 1], of the same shape as both."""
    word = np.clip(logits, -_SURE, _SURE) / _SURE
    scores = (1.0 - _SHARE) * likeness + _SHARE * word
    return np.where(likeness == NOT_COMPARED, likeness, scores).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Scoring:
    """Every adapter's examples and classifier, in the same order; no classifiers, no adapters."""

    index: ExampleIndex
    heads: Heads | None = None

    def scores(self, vectors: Vectors, parts: NDArray[np.intp] | None = None) -> Vectors:
        """Of each text (n, d) for each adapter: (n, adapters).

        ``parts`` (n,) is for texts that were learnt, as in ``Heads.logits``; their likeness to
        their own adapter still counts the text itself.
        """
        likeness = self.index.scores(vectors)
        if self.heads is None:
            return likeness
        return scored(likeness, self.heads.logits(vectors, parts))
