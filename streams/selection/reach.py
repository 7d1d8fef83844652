"""How many adapters a query has to be compared with: fitted, as thresholds are."""

import numpy as np
from numpy.typing import NDArray

from streams.selection.decision import MAX_CANDIDATES
from streams.selection.probes import ProbeScores
from streams.selection.rivalry import ThresholdTable, lead

# Decisions on calibration texts that a shortlist may change; on others it may be some more.
_MAX_CHANGED = 0.002
# A shortlist of more of the adapters than this saves nothing.
_MAX_SHARE = 0.25


def fit_reach(texts: ProbeScores, table: ThresholdTable, min_margin: float) -> int | None:
    """So many adapters, the best by their centroids, decide as all do; None if they are too many.

    Asked are the texts, and those of adapters once more without their own: off every topic, as
    queries may be, too.
    """
    asked = (texts, texts.off_topic())
    needed = np.concatenate([_needed(part, table, min_margin) for part in asked])
    count = max(MAX_CANDIDATES, int(np.quantile(needed, 1 - _MAX_CHANGED, method="higher")))
    return count if count <= _MAX_SHARE * texts.scores.shape[1] else None


def _needed(texts: ProbeScores, table: ThresholdTable, min_margin: float) -> NDArray[np.intp]:
    """How many adapters, the best by centroids first, hold those that decide on each text, (t,).

    That is the nearest one, and the second where it is so near that none may answer. Texts that
    the nearest one rejects need neither: others hardly ever take what it doesn't.
    """
    rows, winners = np.arange(len(texts.scores)), texts.scores.argmax(axis=1)
    best, margin = lead(texts.scores)
    others = texts.scores.copy()
    others[rows, winners] = -np.inf
    first, second = _rank(texts, winners), _rank(texts, others.argmax(axis=1))
    decided = np.where(margin < min_margin, np.maximum(first, second), first)
    is_served = best >= table.of_winners(winners, texts.languages)
    return np.where(is_served, decided, 0)


def _rank(texts: ProbeScores, columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many adapters are as good a guess for each text as the one of its column, (t,)."""
    own = np.take_along_axis(texts.guesses, columns[:, None], axis=1)
    rank: NDArray[np.intp] = (texts.guesses >= own).sum(axis=1)
    return rank
