"""What is counted of a router's answers: shares within 0..1."""

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]

_BINS = 10


def auroc(scores: Numbers, inside: Flags) -> float:
    """How often an in-scope query's score is above an out-of-scope one's, ties half; NaN where a
    kind is missing. (The area under the receiver operating characteristic.)
    """
    from sklearn.metrics import roc_auc_score

    if inside.all() or not inside.any():
        return float("nan")
    return float(roc_auc_score(inside, scores))


def rejecting(scores: Numbers, share: float) -> float:
    """The score below which at most ``share`` of these lie; NaN of none."""
    return float(np.quantile(scores, share, method="lower")) if len(scores) else float("nan")


def mean(flags: Flags) -> float:
    """The share that is true; NaN of none."""
    return float(flags.mean()) if len(flags) else float("nan")


def weighed(inside: Flags, strangers: float) -> Numbers:
    """Weights (n,) under which out-of-scope queries are as frequent as ``strangers`` says, within
    0..1; all alike where a kind is missing.
    """
    if inside.all() or not inside.any():
        return np.full(len(inside), 1 / max(1, len(inside)))
    weights: Numbers = np.where(inside, (1 - strangers) / inside.sum(), strangers / (~inside).sum())
    return weights


def calibration_error(probabilities: Numbers, right: Flags, weights: Numbers) -> float:
    """Expected calibration error over ten bins: how far, on average, a stated probability is from
    how often such answers are right (Naeini et al. 2015, https://doi.org/10.1609/aaai.v29i1.9602).

    ``weights`` (n,) are how frequent each query is taken to be. NaN where none is stated.
    """
    stated = ~np.isnan(probabilities)
    if not stated.any():
        return float("nan")
    weights = weights[stated] / weights[stated].sum()
    gaps = weights * (probabilities[stated] - right[stated])
    bins = np.minimum((probabilities[stated] * _BINS).astype(int), _BINS - 1)
    return float(np.abs(np.bincount(bins, gaps, _BINS)).sum())
