"""Logistic regression of two classes, regularised by its weights' squares.

As scikit-learn's ``LogisticRegression`` fits it, and to the same figures. To import that takes 1.9
seconds of CPU (median of 3) at each start of a router; SciPy's part, which is used here, takes 0.9.
"""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

# Where to stop: by the loss as exactly as double precision has it, else by its slope.
_LEAST_GAIN = 64 * float(np.finfo(np.float64).eps)
_MOST_STEPS = 1_000
_MOST_TRIES_A_STEP = 50


@dataclass(frozen=True, slots=True)
class Plane:
    """Log-odds of a row x: ``weights`` (d,) times x, plus ``intercept``."""

    weights: Floats
    intercept: float


def load() -> None:
    """Imports what fitting needs, once in a process."""
    import_module("scipy.optimize")


def fit(
    rows: Floats,
    is_positive: NDArray[np.bool_],
    counts: Floats,
    *,
    freedom: float = 1.0,
    least_slope: float = 1e-4,
) -> Plane:
    """The plane between the positive ones of ``rows`` (n, d) and the others; some of each.

    Each row counts ``counts`` (n,) times. ``freedom`` is the regularisation's inverse strength;
    the search (L-BFGS, Liu and Nocedal 1989) ends where no slope of the mean loss is above
    ``least_slope``.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    shares = (counts / counts.sum()).astype(rows.dtype)
    penalty = 1 / (freedom * float(counts.sum()))
    signs = np.where(is_positive, 1, -1).astype(rows.dtype)

    def loss_and_slope(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, intercept = parameters[:-1], parameters[-1]
        margins = signs * (rows @ weights.astype(rows.dtype) + rows.dtype.type(intercept))
        loss = penalty / 2 * float(weights @ weights) - float(shares @ log_expit(margins))
        doubts = -signs * shares * expit(-margins)
        return loss, np.append(doubts @ rows + penalty * weights, doubts.sum())

    found = minimize(
        loss_and_slope,
        np.zeros(rows.shape[1] + 1),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": _MOST_STEPS,
            "maxls": _MOST_TRIES_A_STEP,
            "gtol": least_slope,
            "ftol": _LEAST_GAIN,
        },
    )
    return Plane(found.x[:-1], float(found.x[-1]))


def balanced(is_positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often each row counts (n,), so that both classes count alike; n in all."""
    positives = int(is_positive.sum())
    of_each = np.where(is_positive, positives, len(is_positive) - positives)
    return len(is_positive) / 2 / of_each
