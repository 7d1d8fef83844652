"""A decision's reason, in words for the person who asks why."""

import math

from streams.selection.calibration import Thresholds

NO_ADAPTERS = "no registered adapter can be selected: the base model answers"


def bound(thresholds: Thresholds, language: str | None) -> str:
    """An adapter's threshold for a language, and where it comes from if not from all examples."""
    words = f"threshold {thresholds.of(language):.2f}"
    if language in thresholds.fitted:
        return f"{words} for {language}"
    if language is None or language in thresholds.by_language:
        return words
    return f"{words} for {language}, where it has no examples"


def ahead(adapter: str, score: float, bound: str, second: str, margin: float) -> str:
    """For the adapter that answers, with a second one behind it."""
    return f"closest to {adapter} ({score:.2f}, over its {bound}), {margin:.2f} ahead of {second}"


def alone(adapter: str, score: float, bound: str) -> str:
    """For the only adapter there is."""
    return f"closest to {adapter} ({score:.2f}, over its {bound}), and no other is registered"


def below(adapter: str, score: float, threshold: float, bound: str) -> str:
    """For a query that resembles no adapter enough."""
    if math.isinf(threshold):
        return (
            f"closest to {adapter} ({score:.2f}), which has too few examples to be chosen: "
            "the base model answers"
        )
    return f"closest to {adapter}, but {score:.2f} is below its {bound}: the base model answers"


def undecided(adapter: str, second: str, score: float, margin: float, least: float) -> str:
    """For a query that two adapters lie about equally near to."""
    return (
        f"{adapter} ({score:.3f}) is only {margin:.3f} ahead of {second} and {least:.3f} is "
        "needed: the base model answers"
    )
