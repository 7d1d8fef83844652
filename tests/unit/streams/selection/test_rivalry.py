"""What adapters tell about each other."""

import math

import numpy as np
import pytest

from streams.selection.calibration import Thresholds
from streams.selection.probes import NOBODY, ProbeScores
from streams.selection.rivalry import Confidence, Rivalry, ThresholdTable, fit_rivalry, lead
from streams.selection.selector import Selector
from tests.unit.streams.selection.topics import TopicEncoder, examples


def test_thresholds_are_looked_up_by_winner_and_language() -> None:
    one = Thresholds(0.5, 0.3, {"de": 0.6, "en": 0.5}, frozenset({"de"}))
    other = Thresholds(0.7, 0.4, {"en": 0.8}, frozenset({"en"}))
    table = ThresholdTable.of([one, other])
    winners = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    found = table.of_winners(winners, ["de", "en", "fr", None] * 2)
    assert found.tolist() == [0.6, 0.5, 0.3, 0.5, 0.4, 0.8, 0.4, 0.7]


def test_the_lead_is_that_over_the_second() -> None:
    best, margin = lead(np.array([[0.2, 0.9, 0.6], [0.5, 0.1, 0.5]]))
    assert best.tolist() == pytest.approx([0.9, 0.5])
    assert margin.tolist() == pytest.approx([0.3, 0.0])


def test_one_adapter_leads_by_nothing() -> None:
    best, margin = lead(np.array([[0.4]]))
    assert (best.tolist(), margin.tolist()) == ([0.4], [0.0])


def test_confidence_is_a_probability_that_grows_with_the_score() -> None:
    confidence = Confidence(-1.0, 20.0, 3.0)
    excess = np.linspace(-1e6, 1e6, 101)
    found = confidence.of(excess, np.zeros(101))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()


def test_an_adapter_that_cannot_be_chosen_is_never_likely() -> None:
    rivalry = Rivalry(0.0, Confidence(-1.0, 20.0, 3.0))
    assert rivalry.probabilities(np.array([[0.9]]), np.array([math.inf])) == [0.0]


def test_without_confidence_there_is_no_probability() -> None:
    assert Rivalry().probabilities(np.zeros((2, 1)), np.zeros(2)) == [None, None]


def test_the_probability_is_that_where_half_the_queries_are_on_a_topic() -> None:
    """Whatever there is of each kind: as often as the mean of it says, the nearest is right."""
    table = ThresholdTable.of([Thresholds(0.5, 0.5)] * 3)
    random = np.random.default_rng(1)
    owners = np.repeat([NOBODY, 0, 1, 2], [40, 200, 200, 200])
    scores = random.normal(0.3, 0.2, (len(owners), 3)).astype(np.float32)
    owned = owners != NOBODY
    scores[owned, owners[owned]] += 0.2
    texts = ProbeScores(owners, (None,) * len(owners), scores, scores)
    rivalry = fit_rivalry(texts, table, false_reject=0.05)

    def mean(scores: np.ndarray) -> float:
        ranked = -np.sort(-scores.astype(np.float64), axis=1)
        return float(np.mean(rivalry.probabilities(ranked, np.full(len(scores), 0.5))))

    stated = mean(scores[owned]) / 2
    stated += (mean(scores[~owned]) + mean(texts.off_topic().scores)) / 4
    right = scores[owned].argmax(axis=1) == owners[owned]
    assert stated == pytest.approx(right.mean() / 2, abs=1e-3)


def test_near_ties_are_left_to_the_base_model() -> None:
    selector = Selector(TopicEncoder(noise=3.0), false_reject=0.5)
    for topic in ("law", "medicine"):
        selector.learn(topic, examples(topic, 60))
    texts = [f"law new {number}" for number in range(300)]
    decided = selector.select(selector.encoder.encode(texts), texts, ["en"] * 300)
    undecided = [d for d in decided if "is only" in d.reason]
    assert undecided
    assert all(d.adapter is None for d in undecided)
    least = max(d.margin or 0.0 for d in undecided)
    chosen = [d.margin or 0.0 for d in decided if d.adapter is not None]
    assert min(chosen) >= least


def test_adapters_that_are_never_mistaken_need_no_margin() -> None:
    selector = Selector(TopicEncoder(noise=0.3), false_reject=0.5)
    for topic in ("law", "medicine", "music"):
        selector.learn(topic, examples(topic, 60))
    texts = [f"law new {number}" for number in range(100)]
    decided = selector.select(selector.encoder.encode(texts), texts, ["en"] * 100)
    assert not any("is only" in decision.reason for decision in decided)
