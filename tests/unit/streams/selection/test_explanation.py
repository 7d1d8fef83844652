"""Why a query went where it went."""

import math

import numpy as np
import pytest

from schemas.records import Candidate, Example
from streams.selection.calibration import Thresholds
from streams.selection.decision import Decision
from streams.selection.explanation import MAX_NEAR, Explanation, explain
from streams.selection.head import fit_head
from streams.selection.material import Material
from streams.selection.selector import Selector
from tests.unit.streams.selection.topics import TopicEncoder, examples, vectors

ENCODER = TopicEncoder()


def learnt(*topics: str) -> Selector:
    selector = Selector(ENCODER)
    for topic in topics:
        selector.learn(topic, examples(topic))
    return selector


def explained(selector: Selector, text: str, language: str | None = "en") -> Explanation:
    (found,) = selector.explain(ENCODER.encode([text]), [text], [language])
    return found


def material(threshold: float) -> Material:
    own = vectors(8)
    return Material(
        tuple(examples("any", 8)),
        own,
        fit_head(own, [], vectors(8, seed=1)),
        Thresholds(threshold, threshold),
        frozenset(),
    )


def test_it_explains_the_decision_that_select_makes() -> None:
    selector = learnt("law", "medicine", "music")
    for text in ("law 31", "cooking 3", "music 1"):
        (decision,) = selector.select(ENCODER.encode([text]), [text], ["en"])
        assert explained(selector, text).decision == decision


def test_the_nearest_has_its_lead_and_the_others_what_is_missing() -> None:
    first, second, third = explained(learnt("law", "medicine", "music"), "law 31").adapters
    assert first.margin == pytest.approx(first.score - second.score)
    assert second.margin == pytest.approx(second.score - first.score)
    assert third.margin == pytest.approx(third.score - first.score)


def test_the_only_adapter_has_no_margin() -> None:
    (alone,) = explained(learnt("law"), "law 31").adapters
    assert alone.margin is None


def test_each_threshold_is_that_of_the_querys_language() -> None:
    selector = learnt("medicine")
    german = [Example(f"law neu {number}", "de") for number in range(30)]
    selector.learn("law", [*examples("law"), *german])
    told = {}
    for language in ("en", "de"):
        for standing in explained(selector, "law 31", language).adapters:
            assert standing.threshold == selector.thresholds(standing.adapter).of(language)
            told[standing.adapter, language] = standing.threshold
    assert told["law", "en"] != told["law", "de"]


def test_the_nearest_examples_are_told_best_first_with_their_language() -> None:
    standing = explained(learnt("law", "medicine"), "law 7").adapters[0]
    similarities = [example.similarity for example in standing.examples]
    assert standing.examples[0].text == "law 7"
    assert similarities[0] == pytest.approx(1.0, abs=1e-5)
    assert len(similarities) == 5
    assert similarities == sorted(similarities, reverse=True)
    assert {example.language for example in standing.examples} == {"en"}


def test_an_example_that_states_no_language_has_the_detected_one() -> None:
    selector = Selector(ENCODER)
    selector.learn(
        "law", [Example(f"Wie lange dauert das Verfahren Nummer {n}?") for n in range(9)]
    )
    (standing,) = explained(selector, "Wie lange dauert das Verfahren?").adapters
    assert {example.language for example in standing.examples} == {"de"}


def test_an_adapter_with_one_example_has_no_threshold_and_is_not_near() -> None:
    selector = learnt("law")
    selector.learn("tiny", examples("medicine", 1))
    first, _ = explained(selector, "medicine 0").adapters
    assert (first.adapter, first.threshold, first.is_near) == ("tiny", None, False)


def test_without_adapters_there_is_nothing_to_tell() -> None:
    assert explained(Selector(ENCODER), "law 1").adapters == ()


def test_all_that_are_near_are_told_and_of_the_others_the_candidates() -> None:
    scores = {f"a{number}": 0.9 - number / 10 for number in range(9)}
    decision = Decision("a0", candidates=tuple(Candidate(a, s) for a, s in scores.items())[:5])
    told = explain(decision, vectors(1)[0], scores, lambda _: material(0.25)).adapters
    assert [standing.adapter for standing in told] == [f"a{number}" for number in range(7)]
    few = explain(decision, vectors(1)[0], scores, lambda _: material(math.inf)).adapters
    assert len(few) == 5


def test_where_very_many_are_near_the_nearest_are_told() -> None:
    scores = {f"a{number:02}": 0.9 - number / 100 for number in range(40)}
    decision = Decision("a00", candidates=(Candidate("a00", 0.9),))
    told = explain(decision, vectors(1)[0], scores, lambda _: material(0.1)).adapters
    assert [standing.adapter for standing in told] == sorted(scores)[:MAX_NEAR]


def test_material_has_an_example_for_each_vector() -> None:
    found = learnt("law", "medicine").material("law")
    texts = [example.text for example in found.examples]
    encoded = ENCODER.encode(texts)
    assert sorted(texts) == sorted(example.text for example in examples("law"))
    # Centred on the background, so not the same vectors, but the same neighbours.
    nearest = (encoded @ encoded.T - 2 * np.eye(len(texts))).argmax(axis=1)
    assert (
        np.mean((found.vectors @ found.vectors.T - 2 * np.eye(30)).argmax(axis=1) == nearest) > 0.8
    )


def test_what_was_never_learnt_has_no_material() -> None:
    with pytest.raises(KeyError):
        learnt("law").material("medicine")
