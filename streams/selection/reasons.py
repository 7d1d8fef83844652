"""A decision's reason, in words for the person who asks why.

Throughout, ``language`` is given where the threshold was fitted for that language alone.
"""

import math

NO_ADAPTERS = "no registered adapter can be selected: the base model answers"


def ahead(
    adapter: str, score: float, threshold: float, language: str | None, second: str, margin: float
) -> str:
    """For the adapter that answers, with a second one behind it."""
    near = _near(adapter, score, threshold, language)
    return f"{near}, {margin:.2f} ahead of {second}"


def alone(adapter: str, score: float, threshold: float, language: str | None) -> str:
    """For the only adapter there is."""
    return f"{_near(adapter, score, threshold, language)}, and no other is registered"


def below(adapter: str, score: float, threshold: float, language: str | None) -> str:
    """For a query that resembles no adapter enough."""
    if math.isinf(threshold):
        return f"closest to {adapter} ({score:.2f}), which has too few examples to be chosen"
    bound = _bound(threshold, language)
    return f"closest to {adapter}, but {score:.2f} is below its {bound}: the base model answers"


def undecided(adapter: str, second: str, score: float, margin: float, least: float) -> str:
    """For a query that two adapters lie about equally near to."""
    return (
        f"{adapter} ({score:.3f}) is only {margin:.3f} ahead of {second} and {least:.3f} is "
        "needed: the base model answers"
    )


def _near(adapter: str, score: float, threshold: float, language: str | None) -> str:
    return f"closest to {adapter} ({score:.2f}, over its {_bound(threshold, language)})"


def _bound(threshold: float, language: str | None) -> str:
    return f"threshold {threshold:.2f} for {language}" if language else f"threshold {threshold:.2f}"
