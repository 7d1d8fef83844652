"""How many adapters a query has to be compared with."""

import numpy as np

from streams.selection.calibration import Thresholds
from streams.selection.probes import NOBODY, ProbeScores
from streams.selection.reach import fit_reach
from streams.selection.rivalry import ThresholdTable

ADAPTERS = 40
TEXTS = 1_000
TABLE = ThresholdTable.of([Thresholds(0.5, 0.5)] * ADAPTERS)


def probes(rank: int, score: float = 0.9, second: float = 0.2) -> ProbeScores:
    """Texts whose nearest adapter, the first, is the ``rank``-th likeliest; second is the last."""
    scores = np.full((TEXTS, ADAPTERS), 0.1, np.float32)
    scores[:, 0], scores[:, -1] = score, second
    guesses = np.tile(np.linspace(0.0, 0.5, ADAPTERS, dtype=np.float32), (TEXTS, 1))
    guesses[:, 0] = guesses[0, ADAPTERS - 1 - rank] + 1e-3
    guesses[:, -1] = -0.5
    return ProbeScores(np.full(TEXTS, NOBODY), (None,) * TEXTS, scores, guesses)


def test_it_reaches_as_far_as_the_nearest_adapter_is() -> None:
    assert [fit_reach(probes(rank), TABLE, 0.0) for rank in (6, 7, 10)] == [6, 7, 10]


def test_candidates_are_always_compared() -> None:
    assert fit_reach(probes(2), TABLE, 0.0) == 5


def test_a_shortlist_that_would_be_long_is_none() -> None:
    assert fit_reach(probes(11), TABLE, 0.0) is None


def test_what_is_rejected_anyway_needs_no_adapter() -> None:
    assert fit_reach(probes(30, score=0.4), TABLE, 0.0) == 5


def test_a_second_that_is_too_near_has_to_be_reached_as_well() -> None:
    near_tie = probes(3, second=0.89)
    assert fit_reach(near_tie, TABLE, 0.0) == 5
    assert fit_reach(near_tie, TABLE, 0.05) is None


def test_a_few_texts_may_be_decided_otherwise() -> None:
    texts = probes(2)
    texts.guesses[:1, 0] = -1.0
    assert fit_reach(texts, TABLE, 0.0) == 5
    texts.guesses[:10, 0] = -1.0
    assert fit_reach(texts, TABLE, 0.0) is None


def test_texts_of_adapters_are_asked_without_their_own_too() -> None:
    texts = probes(2, second=0.8)
    owned = ProbeScores(np.zeros(TEXTS, np.intp), texts.languages, texts.scores, texts.guesses)
    assert fit_reach(texts, TABLE, 0.0) == 5
    assert fit_reach(owned, TABLE, 0.0) is None
