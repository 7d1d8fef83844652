"""An adapter's score for a query: likeness to its nearest examples, and its classifier's word."""

from dataclasses import dataclass

import numpy as np

from streams.selection.head import Heads
from streams.selection.index import NOT_COMPARED, ExampleIndex, Vectors
from streams.selection.shortlist import Shortlist

# Log-odds from which on the classifier is as sure as it can be, and the share of the score that is
# its word: of a seventh to a third, a sixth gave the best of accuracy and rejection together at
# 10, 50 and 200 examples (CLINC150).
_SURE = 5.0
_SHARE = 1 / 6

# Texts scored together: it bounds what that takes besides (50 MB with 1,000 adapters).
_AT_ONCE = 256


def scored(likeness: Vectors, logits: Vectors) -> Vectors:
    """Scores within [-1, 1], of the same shape as both."""
    word = np.clip(logits, -_SURE, _SURE) / _SURE
    scores = (1.0 - _SHARE) * likeness + _SHARE * word
    return np.where(likeness == NOT_COMPARED, likeness, scores).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Scoring:
    """Every adapter's examples and classifier, in the same order; no classifiers, no adapters.

    With a ``shortlist`` a text is compared with the examples of the adapters only whose score
    would be highest if it were as near to them as to their centroids.
    """

    index: ExampleIndex
    heads: Heads | None = None
    shortlist: Shortlist | None = None

    def scores(self, vectors: Vectors) -> Vectors:
        """Of each text (n, d) for each adapter: (n, adapters)."""
        if self.heads is None:
            return self.index.scores(vectors)
        parts = [
            self._scores(vectors[n : n + _AT_ONCE], self.heads)
            for n in range(0, len(vectors), _AT_ONCE)
        ]
        return np.concatenate(parts) if parts else self.index.scores(vectors)

    def _scores(self, vectors: Vectors, heads: Heads) -> Vectors:
        logits = heads.logits(vectors)
        if self.shortlist is None:
            return scored(self.index.scores(vectors), logits)
        columns = self.shortlist.highest(scored(self.shortlist.likeness(vectors), logits))
        return scored(self.index.scores(vectors, columns), logits)
