"""How the demo chooses its questions and judges their answers."""

import argparse
import random
from collections import Counter

import pytest
from rich.console import Console

from cli.query_client import Answer
from examples.demo import (
    Columns,
    Kind,
    Outcome,
    Question,
    choose,
    percentile,
    reworded,
    show_summary,
    weighs,
)
from schemas.errors import EngineError
from schemas.records import Candidate, Origin, Response, Routing

TRAINED = Question(Kind.TRAINED, "How long?", "en", "legal-qa-v1", "Three years.")
REWORDED = Question(Kind.REWORDED, "How many years?", "en", "legal-qa-v1")
STRANGER = Question(Kind.NONE, "How long for an egg?", "en")


def options(trained: int = 4, reworded: int = 2, none: int = 5) -> argparse.Namespace:
    return argparse.Namespace(trained=trained, reworded=reworded, none=none)


def replied(
    question: Question, adapter: str | None, text: str = "Three years.", ms: float = 40.0
) -> Outcome:
    routing = Routing(adapter=adapter, score=0.8, candidates=(Candidate("legal-qa-v1@1.0.0", 0.8),))
    response = Response(
        query_id="q",
        status="ok",
        text=text,
        adapter=adapter,
        routing=routing,
        origin=Origin("queries", 0, 7),
    )
    return Outcome(question, Answer(response, ms))


def failed(question: Question) -> Outcome:
    response = Response(
        query_id="q",
        status="error",
        error=EngineError("It broke.").to_info(),
        origin=Origin("queries", 0, 7),
    )
    return Outcome(question, Answer(response, 1.0))


def printed(*outcomes: Outcome, width: int = 180) -> str:
    console = Console(width=width, highlight=False, record=True, quiet=False)
    with console.capture() as shown:
        columns = Columns(console.width)
        for outcome in outcomes:
            console.print(columns.row(outcome))
        show_summary(console, outcomes)
    return shown.get()


def test_every_domain_and_language_is_asked_equally_often() -> None:
    questions = choose(random.Random(1), options())

    trained = Counter((q.adapter, q.language) for q in questions if q.kind is Kind.TRAINED)
    reworded = Counter((q.adapter, q.language) for q in questions if q.kind is Kind.REWORDED)
    assert set(trained.values()) == {4} and len(trained) == 6
    assert set(reworded.values()) == {2} and len(reworded) == 6
    assert sum(q.kind is Kind.NONE for q in questions) == 10
    assert len({q.text for q in questions}) == len(questions)


def test_the_same_seed_chooses_the_same_questions() -> None:
    first, again, other = (choose(random.Random(seed), options()) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_rewordings_that_selection_has_learnt_are_not_asked() -> None:
    known = {question.text for question in reworded("legal-qa", "de", ())[1:]}

    questions = choose(random.Random(1), options(), known)

    assert known.isdisjoint(q.text for q in questions)
    assert sum(q.kind is Kind.REWORDED for q in questions) == 11


def test_asking_for_more_than_there_is_asks_everything_once() -> None:
    questions = choose(random.Random(1), options(none=10_000))

    assert len({q.text for q in questions}) == len(questions)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (replied(TRAINED, "legal-qa-v1@1.0.0"), True),
        (replied(TRAINED, "legal-qa-v1@1.2.0"), True),
        (replied(TRAINED, "legal-qa-v1@1.0.0", "Two years."), False),
        (replied(TRAINED, "legal-qa-v10@1.0.0"), False),
        (replied(TRAINED, None), False),
        (replied(REWORDED, "legal-qa-v1@1.0.0", "Two years."), True),
        (replied(REWORDED, None), False),
        (replied(STRANGER, None, "Who knows."), True),
        (replied(STRANGER, "legal-qa-v1@1.0.0"), False),
        (failed(STRANGER), False),
        (Outcome(STRANGER, None), False),
    ],
)
def test_an_answer_is_as_expected_by_adapter_and_for_trained_questions_by_word(
    outcome: Outcome, expected: bool
) -> None:
    assert outcome.is_as_expected is expected


def test_selection_weighs_an_adapter_that_is_among_the_candidates() -> None:
    answer = replied(STRANGER, None).reply

    assert weighs(answer, "legal-qa-v1")
    assert not weighs(answer, "legal-qa")
    assert not weighs(None, "legal-qa-v1")


@pytest.mark.parametrize("width", [70, 80, 130, 200])
def test_every_query_has_its_line_and_the_summary_counts_them(width: int) -> None:
    shown = printed(
        replied(TRAINED, "legal-qa-v1@1.0.0"),
        replied(TRAINED, "legal-qa-v1@1.0.0", "Two years."),
        replied(REWORDED, None),
        failed(STRANGER),
        width=width,
    )

    assert shown.count("✓") == 1
    assert shown.count("✗") == 2 * 3
    assert 'got "Two years.", expected was "Three years."' in shown
    assert "went to the base model, not to legal-qa-v1" in shown
    assert "was not answered: It broke." in shown


def test_percentiles_lie_between_the_values() -> None:
    assert percentile([5.0], 95) == 5.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([0.0, 100.0], 95) == 95.0
