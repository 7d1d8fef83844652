"""Figures on labelled queries."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Candidate
from streams.selection.decision import Decision
from streams.selection.evaluation import Evaluation, Share, evaluate
from streams.selection.labelled import LabelledQuery

LAW, TAX = "legal-qa-v1@1.0.0", "tax-qa-v1@1.0.0"


def query(expected: str | None, text: str = "?", place: str = "q, line 1") -> LabelledQuery:
    return LabelledQuery(text, expected, None, place)


def decided(
    chosen: str | None,
    *,
    nearest: str | None = None,
    probability: float | None = 0.9,
    language: str | None = "en",
    score: float = 0.6,
) -> Decision:
    best = nearest or chosen
    candidates = (Candidate(best, score),) if best else ()
    return Decision(
        chosen, score, 0.1, probability, 0.5, "because", language, candidates=candidates
    )


def outcome(*pairs: tuple[str | None, Decision], examples: Sequence[str] = ()) -> Evaluation:
    queries = [query(expected) for expected, _ in pairs]
    return evaluate(queries, [decision for _, decision in pairs], examples)


def test_every_query_counts_in_the_accuracy_and_each_kind_by_itself() -> None:
    found = outcome(
        (LAW, decided(LAW)),
        (LAW, decided(LAW)),
        (LAW, decided(TAX)),
        (TAX, decided(None, nearest=TAX)),
        (None, decided(None, nearest=LAW)),
        (None, decided(LAW)),
    )
    assert found.accuracy == Share(3, 6)
    assert found.routed == Share(2, 4)
    assert found.misrouted == Share(1, 4)
    assert found.rejected == Share(1, 4)
    assert found.nearest == Share(3, 4)
    assert found.caught == Share(1, 2)
    assert found.confusion == {
        (LAW, LAW): 2,
        (LAW, TAX): 1,
        (TAX, None): 1,
        (None, None): 1,
        (None, LAW): 1,
    }
    assert found.by_adapter == {LAW: Share(2, 3), TAX: Share(0, 1), None: Share(1, 2)}


def test_the_accuracy_is_told_by_language() -> None:
    found = outcome(
        (LAW, decided(LAW, language="en")),
        (LAW, decided(TAX, language="de")),
        (LAW, decided(LAW, language="de")),
        (LAW, decided(LAW, language=None)),
    )
    assert found.by_language == {"de": Share(1, 2), "en": Share(1, 1), None: Share(1, 1)}
    assert list(found.by_language) == ["de", "en", None]


def test_mistakes_begin_with_those_it_was_surest_of() -> None:
    found = outcome(
        (LAW, decided(TAX, probability=0.6)),
        (LAW, decided(None, nearest=LAW, probability=0.05)),
        (LAW, decided(LAW)),
        (None, decided(TAX, probability=0.8)),
    )
    assert [mistake.confidence for mistake in found.mistakes] == pytest.approx([0.95, 0.8, 0.6])
    assert [mistake.decision.adapter for mistake in found.mistakes] == [None, TAX, TAX]


def test_without_a_probability_the_distance_to_the_threshold_says_how_sure_it_was() -> None:
    found = outcome(
        (LAW, decided(TAX, probability=None, score=0.55)),
        (LAW, decided(TAX, probability=None, score=0.8)),
    )
    assert [mistake.decision.score for mistake in found.mistakes] == [0.8, 0.55]
    assert found.mistakes[0].confidence is None


def test_queries_that_are_examples_are_told() -> None:
    queries = [query(LAW, "seen", "q, line 1"), query(LAW, "new", "q, line 2")]
    found = evaluate(queries, [decided(LAW)] * 2, {"seen", "other"})
    assert [known.place for known in found.known] == ["q, line 1"]


def test_a_share_of_nothing_has_no_rate() -> None:
    found = outcome((LAW, decided(LAW)))
    assert found.caught == Share(0, 0)
    assert found.caught.rate is None
    assert found.accuracy.rate == 1.0


labels = st.sampled_from([LAW, TAX, None])


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=30))
def test_the_kinds_add_up(pairs: list[tuple[str | None, str | None]]) -> None:
    found = outcome(*((expected, decided(chosen)) for expected, chosen in pairs))
    assert found.routed.count + found.misrouted.count + found.rejected.count == found.routed.total
    assert found.accuracy.count == found.routed.count + found.caught.count
    assert found.accuracy.total == len(pairs) == sum(found.confusion.values())
    assert found.accuracy.count + len(found.mistakes) == len(pairs)
    for groups in (found.by_adapter, found.by_language):
        assert sum(share.count for share in groups.values()) == found.accuracy.count
