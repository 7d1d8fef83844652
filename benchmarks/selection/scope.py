"""Who is right, and who tells what belongs to no adapter, by the number of examples."""

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.selection.draws import drawn_examples
from benchmarks.selection.lorelay import BATCH, FALSE_REJECT
from benchmarks.selection.measures import (
    auroc,
    calibration_error,
    mean,
    rejecting,
    weighed,
)
from benchmarks.selection.queries import QuerySet
from benchmarks.selection.tables import Column, Table
from benchmarks.selection.trial import Contender, Outcome, Trial, in_scope, missing, right


def scope_tables(
    known: QuerySet,
    contenders: Sequence[Contender],
    sizes: Sequence[int | None],
    draws: int,
    say: Callable[[str], None],
) -> tuple[Table, Table]:
    """What each makes of a set's test split, and what its own thresholds let through.

    ``sizes`` are examples of each adapter, None for all there are, which is one draw.
    """
    ranked, served = _ranking(known.name), _thresholds(known.name)
    for size in sizes:
        trials = [scope_trial(known, size, draw) for draw in range(draws if size else 1)]
        for contender in contenders:
            say(f"{known.name}, {size or 'all'} examples: {contender.name}")
            pairs = list(zip(trials, contender.examined(trials), strict=True))
            labels = (str(size or "all"), contender.name)
            ranked.add(labels, [ranking_figures(*pair) for pair in pairs])
            served.add(labels, [serving_figures(*pair) for pair in pairs])
    return ranked, served


def scope_trial(known: QuerySet, size: int | None, draw: int) -> Trial:
    """Examples from train, thresholds by val, questions from test."""
    examples = drawn_examples(known.of_split("train"), size, draw)
    return Trial(examples, known.of_split("val"), known.of_split("test"))


def ranking_figures(trial: Trial, outcome: Outcome) -> dict[str, float]:
    """By column of the ranking, percent."""
    inside, asked = in_scope(trial.asked), outcome.asked
    threshold = rejecting(outcome.fitting.scores[in_scope(trial.fitting)], FALSE_REJECT)
    below = asked.scores < threshold
    return {
        "accuracy": 100 * mean(right(trial.asked, asked.nearest)[inside]),
        "AUROC": 100 * auroc(asked.scores, inside),
        "out-of-scope recall": 100 * mean(below[~inside]),
        "false rejects": 100 * mean(below[inside]),
        "a query": 1e6 * outcome.seconds,
    }


def serving_figures(trial: Trial, outcome: Outcome) -> dict[str, float]:
    """By column of what is served, percent."""
    inside, asked = in_scope(trial.asked), outcome.asked
    rejected = missing(asked.chosen)
    # An out-of-scope query's nearest adapter is wrong, whichever it is.
    correct = np.where(inside, right(trial.asked, asked.nearest), False)
    return {
        "right adapter": 100 * mean(right(trial.asked, asked.chosen)[inside]),
        "false rejects": 100 * mean(rejected[inside]),
        "out-of-scope recall": 100 * mean(rejected[~inside]),
        "calibration error": 100
        * calibration_error(asked.probabilities, correct, weighed(inside, outcome.strangers)),
    }


def _ranking(name: str) -> Table:
    return Table(
        f"{name}: ranking",
        f"{name}: ranking, by examples of each adapter",
        ("examples", "router"),
        (
            Column("accuracy"),
            Column("AUROC"),
            Column("out-of-scope recall"),
            Column("false rejects"),
            Column("a query", "µs"),
        ),
        (
            "Accuracy of the nearest adapter over in-scope queries; AUROC of the score (of "
            "semantic-router, its confidence in its best route), in against out of scope.",
            "Recall where the score is held against one threshold for all, which "
            f"{FALSE_REJECT:.0%} of val's in-scope queries lie below; false rejects: what that "
            "costs on test.",
            f"A query: what routing takes beyond encoding; ours in batches of {BATCH}, the "
            "language detected, semantic-router one by one, as its interface has it.",
        ),
    )


def _thresholds(name: str) -> Table:
    return Table(
        f"{name}: thresholds",
        f"{name}: with the thresholds that each router sets itself",
        ("examples", "router"),
        (
            Column("right adapter"),
            Column("false rejects"),
            Column("out-of-scope recall"),
            Column("calibration error"),
        ),
        (
            "Ours are fitted on the examples alone; semantic-router, as its README has it, is "
            "fitted on val, out-of-scope queries included, and asked for a confidence of 0.5.",
            "Right adapter: of all in-scope queries, those that the right one answers.",
            "Calibration error of the stated probability: test's queries weighed as frequent as "
            "it takes them to be; ours half out of scope, semantic-router's as in val.",
        ),
    )
