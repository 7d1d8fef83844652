"""Selection over an encoder whose likeness is known."""

import dataclasses
import math
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Example
from streams.selection.selector import Decision, Selector
from tests.unit.streams.selection.topics import TopicEncoder, examples

ENCODER = TopicEncoder()
TOPICS = ("law", "medicine", "environment", "music")


def learnt(*topics: str, count: int = 30) -> Selector:
    selector = Selector(ENCODER)
    for topic in topics:
        selector.learn(f"{topic}-v1@1.0.0", examples(topic, count))
    return selector


def decide(selector: Selector, texts: Sequence[str], language: str | None = "en") -> list[Decision]:
    return selector.select(selector.encoder.encode(texts), texts, [language] * len(texts))


def test_a_query_goes_to_the_adapter_it_resembles() -> None:
    (decision,) = decide(learnt(*TOPICS), ["law 31"])
    assert decision.adapter == "law-v1@1.0.0"
    assert decision.score is not None
    assert decision.threshold is not None
    assert decision.score >= decision.threshold
    assert decision.margin == pytest.approx(
        decision.candidates[0].score - decision.candidates[1].score
    )


def test_a_query_off_every_topic_goes_to_the_base_model() -> None:
    texts = [f"cooking {number}" for number in range(50)]
    decided = decide(learnt(*TOPICS), texts)
    assert sum(decision.adapter is None for decision in decided) >= 45


def test_an_adapter_alone_still_rejects_what_is_off_its_topic() -> None:
    selector = learnt("law")
    decided = decide(selector, [f"cooking {number}" for number in range(50)])
    assert all(decision.adapter is None for decision in decided)
    own = decide(selector, [f"law new {number}" for number in range(50)])
    assert sum(decision.adapter is not None for decision in own) >= 40
    assert all(decision.margin is None for decision in own)


def test_about_the_stated_share_of_an_adapters_own_queries_is_rejected() -> None:
    selector = Selector(ENCODER, false_reject=0.1)
    for topic in TOPICS:
        selector.learn(topic, examples(topic, 300))
    decided = decide(selector, [f"law new {number}" for number in range(1000)])
    assert 0.03 < sum(decision.adapter is None for decision in decided) / 1000 < 0.13


def test_without_adapters_every_query_goes_to_the_base_model() -> None:
    (decision,) = decide(Selector(ENCODER), ["law 1"])
    assert decision.adapter is None
    assert decision.candidates == ()
    assert decision.reason == "no registered adapter can be selected: the base model answers"


def test_no_queries_give_no_decisions() -> None:
    assert learnt("law").select(ENCODER.encode([]), [], []) == []


def test_a_forgotten_adapter_is_never_chosen() -> None:
    selector = learnt("law", "medicine")
    selector.forget("law-v1@1.0.0")
    (decision,) = decide(selector, ["law 1"])
    assert selector.adapters == ("medicine-v1@1.0.0",)
    assert [candidate.adapter for candidate in decision.candidates] == ["medicine-v1@1.0.0"]


def test_forgetting_what_was_never_learnt_changes_nothing() -> None:
    selector = learnt("law")
    selector.forget("medicine-v1@1.0.0")
    assert selector.adapters == ("law-v1@1.0.0",)


def test_learning_again_replaces_what_was_learnt() -> None:
    selector = learnt("law", "medicine")
    selector.learn("law-v1@1.0.0", examples("music"))
    music, law = decide(selector, ["music new", "law new"])
    assert music.adapter == "law-v1@1.0.0"
    assert law.adapter is None


def test_an_adapter_without_examples_takes_no_part() -> None:
    selector = learnt("law")
    selector.learn("empty-v1@1.0.0", [])
    assert selector.adapters == ("law-v1@1.0.0",)


def test_an_adapter_with_one_example_is_shown_but_not_chosen() -> None:
    selector = learnt("law")
    selector.learn("tiny-v1@1.0.0", examples("medicine", 1))
    (decision,) = decide(selector, ["medicine 0"])
    assert decision.adapter is None
    assert decision.threshold is None
    assert decision.candidates[0].adapter == "tiny-v1@1.0.0"
    assert "too few examples" in decision.reason
    assert selector.thresholds("tiny-v1@1.0.0").overall == math.inf


def test_two_adapters_with_the_same_examples_are_never_told_apart() -> None:
    selector = learnt(*TOPICS)
    selector.learn("law-copy-v1@1.0.0", examples("law"))
    decided = decide(selector, [f"law new {number}" for number in range(20)])
    assert all(decision.margin == 0 for decision in decided)
    assert len({decision.candidates[0].adapter for decision in decided}) == 1


def test_repeated_examples_count_once() -> None:
    once, thrice = Selector(ENCODER), Selector(ENCODER)
    once.learn("law", examples("law"))
    thrice.learn("law", examples("law") * 3)
    assert once.thresholds("law") == thrice.thresholds("law")


def test_candidates_are_the_five_nearest_best_first() -> None:
    selector = learnt(*(f"topic{number}" for number in range(8)))
    (decision,) = decide(selector, ["topic3 new"])
    scores = [candidate.score for candidate in decision.candidates]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert decision.candidates[0].adapter == "topic3-v1@1.0.0"


def test_the_probability_is_higher_on_topic_than_off() -> None:
    selector = learnt(*TOPICS)
    on = [d.probability or 0.0 for d in decide(selector, [f"law new {n}" for n in range(30)])]
    off = [d.probability or 0.0 for d in decide(selector, [f"cooking {n}" for n in range(30)])]
    assert np.mean(on) > 0.8
    assert np.mean(off) < 0.2
    assert all(0.0 <= probability <= 1.0 for probability in on + off)


@pytest.mark.parametrize(
    ("texts", "stated", "languages"),
    [
        (["law 1"], "de-AT", ["de"]),
        (["Wie lange dauert die Probezeit?"], None, ["de"]),
        (["How long is the probation period?", "7"], None, ["en", None]),
    ],
)
def test_a_stated_language_is_believed_and_another_detected(
    texts: list[str], stated: str | None, languages: list[str | None]
) -> None:
    decided = decide(learnt("law"), texts, stated)
    assert [decision.language for decision in decided] == languages


def test_the_reason_tells_score_threshold_and_lead() -> None:
    decision, rejected = decide(learnt("law", "medicine", "music"), ["law 1", "cooking 1"])
    assert decision.reason == (
        f"closest to law-v1@1.0.0 ({decision.score:.2f}, over its threshold "
        f"{decision.threshold:.2f} for en), {decision.margin:.2f} ahead of "
        f"{decision.candidates[1].adapter}"
    )
    assert rejected.reason == (
        f"closest to {rejected.candidates[0].adapter}, but {rejected.score:.2f} is below its "
        f"threshold {rejected.threshold:.2f} for en: the base model answers"
    )


def test_the_reason_says_when_an_adapter_lacks_the_language() -> None:
    (decision,) = decide(learnt("law", "medicine"), ["law 1"], "fr")
    assert "for fr, where it has no examples)" in decision.reason


def test_the_reason_says_when_no_other_adapter_is_there() -> None:
    (decision,) = decide(learnt("law"), ["law 1"])
    assert decision.reason.endswith("and no other is registered")


def test_a_decision_is_made_on_the_state_it_began_with() -> None:
    selector = learnt("law", "medicine")

    class ForgettingTexts(list[str]):
        """Texts whose reading makes the selector forget: as if another thread did."""

        def __getitem__(self, key: object) -> str:  # type: ignore[override]
            selector.forget("law-v1@1.0.0")
            return "law 1"

    decided = selector.select(ENCODER.encode(["law 1"]), ForgettingTexts(["law 1"]), [None])
    assert decided[0].adapter == "law-v1@1.0.0"
    assert selector.adapters == ("medicine-v1@1.0.0",)


topics = st.lists(st.sampled_from(TOPICS), min_size=1, max_size=4, unique=True)
queries = st.lists(
    st.builds("{} {}".format, st.sampled_from((*TOPICS, "cooking")), st.integers(0, 99)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25)
@given(topics, st.randoms(use_true_random=False), queries)
def test_what_was_learnt_in_which_order_makes_no_difference(
    names: list[str], random: Random, texts: list[str]
) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)
    one, other = Selector(ENCODER), Selector(ENCODER)
    for name in names:
        one.learn(name, examples(name, 8))
    for name in shuffled:
        own = examples(name, 8)
        random.shuffle(own)
        other.learn(name, own)
    assert decide(one, texts) == decide(other, texts)


@settings(max_examples=25)
@given(topics, queries)
def test_forgetting_undoes_learning(names: list[str], texts: list[str]) -> None:
    selector = learnt(*names, count=8)
    before = decide(selector, texts)
    selector.learn("another", examples("cooking", 8))
    selector.forget("another")
    assert decide(selector, texts) == before


SELECTOR = learnt(*TOPICS)


@given(queries)
def test_a_query_is_decided_alike_in_any_batch(texts: list[str]) -> None:
    together = decide(SELECTOR, texts)
    for text, decision in zip(texts, together, strict=True):
        (alone,) = decide(SELECTOR, [text])
        assert alone.candidates[0].adapter == decision.candidates[0].adapter
        assert alone.score == pytest.approx(decision.score, abs=1e-5)
        assert alone.margin == pytest.approx(decision.margin, abs=1e-5)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_any_text_gets_a_decision_with_scores_that_are_cosines(texts: list[str]) -> None:
    for decision in decide(SELECTOR, texts, None):
        assert all(-1.0 <= candidate.score <= 1.0 for candidate in decision.candidates)
        assert decision.reason
        assert dataclasses.asdict(decision)


def test_held_out_examples_fit_the_threshold() -> None:
    marked = [
        dataclasses.replace(example, held_out=number < 25)
        for number, example in enumerate(examples("law", 60))
    ]
    selector = Selector(ENCODER)
    selector.learn("law", marked)
    assert math.isfinite(selector.thresholds("law").of("en"))


def test_examples_without_a_language_have_it_detected() -> None:
    german = [Example(f"Wie lange dauert das Verfahren Nummer {n}?") for n in range(30)]
    selector = Selector(ENCODER)
    selector.learn("law", german)
    assert selector.thresholds("law").fitted == {"de"}


def test_many_at_once_are_learnt_as_one_after_the_other() -> None:
    together, one_by_one = Selector(ENCODER), learnt("law", "medicine", "music")
    together.learn("cooking-v1@1.0.0", examples("cooking"))
    together.change(
        {"cooking-v1@1.0.0": None}
        | {f"{t}-v1@1.0.0": together.study(examples(t)) for t in ("music", "law", "medicine")}
    )
    texts = ["law new", "cooking new", "music new"]
    assert decide(together, texts) == decide(one_by_one, texts)


def test_a_shortlist_changes_hardly_a_decision() -> None:
    topics = [f"topic{number}" for number in range(120)]
    exact = Selector(ENCODER, exact_up_to=10**9)
    studied = {topic: exact.study(examples(topic, 60)) for topic in topics}
    shortlisting = Selector(ENCODER, exact_up_to=0)
    for selector in (exact, shortlisting):
        selector.change(studied)
    texts = [f"topic{number % 150} new {number}" for number in range(2000)]
    pairs = zip(decide(exact, texts), decide(shortlisting, texts), strict=True)
    same = [one.adapter == other.adapter for one, other in pairs]
    assert np.mean(same) >= 0.995
    assert 0.6 < np.mean([d.adapter is not None for d in decide(exact, texts)]) < 0.9
