"""The newest answers: their order, what is new, and what is hidden."""

from schemas.records import ErrorInfo, Message, Origin, Query
from streams.gateway.dashboard.answers import KEPT, Answers
from tests.unit.streams.gateway.dashboard.answered import LEGAL, REJECTED, after, response


def test_an_answer_shows_the_decision() -> None:
    answers = Answers(with_text=False)
    answers.answer(response(7), after(0))
    (row,) = answers.latest()
    assert (row["id"], row["origin"], row["adapter"]) == ("q-7", "queries-0-7", LEGAL)
    assert (row["choice"], row["score"], row["margin"]) == ("selected", 0.81, 0.3)
    assert row["candidates"][1]["score"] == 0.51


def test_no_text_is_shown_unless_it_is_allowed() -> None:
    answers = Answers(with_text=False)
    answers.ask(Origin("queries", 0, 0), Query(prompt="A secret?"))
    answers.answer(response(text="A secret."), after(0))
    assert "secret" not in str(answers.latest())


def test_the_text_goes_with_its_answer_whichever_comes_first() -> None:
    answers = Answers(with_text=True)
    answers.ask(Origin("queries", 0, 1), Query(prompt="First?"))
    answers.answer(response(1), after(1))
    answers.answer(response(2), after(2))
    assert [(row["prompt"], row["text"]) for row in answers.news()] == [
        (None, "Three months."),
        ("First?", "Three months."),
    ]
    chat = Query(messages=(Message("system", "Be brief."), Message("user", "Second?")))
    answers.ask(Origin("queries", 0, 2), chat)
    assert [row["prompt"] for row in answers.news()] == ["Second?"]


def test_what_was_told_is_no_news() -> None:
    answers = Answers(with_text=False)
    answers.answer(response(1), after(1))
    assert len(answers.news()) == 1
    answers.answer(response(2), after(2))
    assert [row["id"] for row in answers.news()] == ["q-2"]
    assert answers.news() == []
    assert [row["id"] for row in answers.latest()] == ["q-2", "q-1"]


def test_the_newest_are_kept_in_whatever_order_they_come() -> None:
    answers = Answers(with_text=False)
    for number in range(5 * KEPT):
        place = number * 7 % (5 * KEPT)
        answers.answer(response(place), after(place))
    expected = [f"q-{place}" for place in range(5 * KEPT - 1, 4 * KEPT - 1, -1)]
    assert [row["id"] for row in answers.latest()] == expected
    assert len(answers.news()) == KEPT


def test_who_answered_without_a_decision_is_not_known() -> None:
    answers = Answers(with_text=False)
    error = ErrorInfo("invalid_request", "invalid", "It is no query. " * 100)
    answers.answer(response(0, None, status="error", error=error), after(0))
    answers.answer(response(1, REJECTED), after(1))
    rejected, failed = answers.latest()
    assert (rejected["adapter"], rejected["choice"]) == ("base", "below_threshold")
    assert (failed["adapter"], failed["choice"], failed["error"]["code"]) == (None, None, "invalid")
    assert len(failed["error"]["message"]) == 400
