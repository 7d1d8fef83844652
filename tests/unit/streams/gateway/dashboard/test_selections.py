"""Decisions by kind, and scores by the nearest adapter."""

from schemas.records import Routing
from streams.gateway.dashboard.selections import BINS, KEPT, Selections
from tests.unit.streams.gateway.dashboard.answered import LEGAL, REJECTED, response


def test_scores_stand_by_the_nearest_adapter_chosen_or_not() -> None:
    selections = Selections()
    for _ in range(3):
        selections.add(response())
    selections.add(response(routing=REJECTED))
    summary = selections.summary()
    (row,) = summary["nearest"]
    assert summary["choices"] == {"selected": 3, "below_threshold": 1}
    assert (row["adapter"], row["compared"], row["rejected"]) == (LEGAL, 4, 1)
    assert (row["chosen_bins"][16], row["rejected_bins"][4]) == (3, 1)
    assert (row["median"], row["threshold"]) == (0.81, 0.4)


def test_a_named_adapter_has_no_score() -> None:
    selections = Selections()
    selections.add(response(routing=Routing(adapter=LEGAL)))
    selections.add(response(routing=Routing()))
    selections.add(response(routing=None))
    summary = selections.summary()
    assert summary["choices"] == {"named": 1, "uncompared": 1}
    assert (summary["responses"], summary["nearest"]) == (2, [])


def test_scores_beyond_the_scale_stand_at_its_ends() -> None:
    selections = Selections()
    for score in (-0.2, 1.0, 1.5):
        selections.add(response(routing=Routing(LEGAL, score, candidates=REJECTED.candidates)))
    (row,) = selections.summary()["nearest"]
    assert (row["chosen_bins"][0], row["chosen_bins"][BINS - 1]) == (1, 2)


def test_only_the_newest_count() -> None:
    selections = Selections()
    for number in range(KEPT + 10):
        selections.add(response(routing=REJECTED if number < 10 else None))
        selections.add(response())
    assert selections.summary()["choices"]["selected"] == KEPT
