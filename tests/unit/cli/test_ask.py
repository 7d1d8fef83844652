"""`lorelay ask` without a cluster: what it refuses, and how it sums an answer up."""

import socket
from collections.abc import Iterator

import pytest

from cli.ask import summary
from cli.main import main
from cli.query_client import Answer
from schemas.records import Origin, Response, Routing


@pytest.fixture
def nobody() -> Iterator[str]:
    """A loopback address that is bound, so that nobody else can listen there, and does not."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def answered(adapter: str | None, routing: Routing) -> Answer:
    response = Response(
        query_id="q",
        status="ok",
        text="Three years.",
        adapter=adapter,
        base_model="tiny@1.0.0",
        routing=routing,
        origin=Origin("queries", 0, 7),
    )
    return Answer(response, elapsed_ms=41.6)


def test_an_empty_question_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "  "]) != 0
    assert capsys.readouterr().err == "lorelay: The prompt is empty.\n"


def test_an_impossible_temperature_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Why?", "--temperature", "9"]) != 0
    assert "temperature is 9.0, it must be between 0 and 2" in capsys.readouterr().err


def test_without_a_broker_one_sentence_says_what_to_do(
    nobody: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LORELAY_KAFKA", nobody)

    assert main(["ask", "Why?"]) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"lorelay: No Kafka broker answers at {nobody}: ")
    assert "lorelay up" in said
    assert said.count("\n") == 1


def test_thesummary_names_the_adapter_its_score_and_the_time() -> None:
    answer = answered("legal-qa-v1@1.0.0", Routing(score=0.834, threshold=0.45, reason="closest"))

    assert summary(answer) == "legal-qa-v1@1.0.0 · score 0.83 (0.45 needed) · 42 ms"


def test_thesummary_says_why_the_base_model_answered() -> None:
    answer = answered(None, Routing(score=0.2, reason="nothing is near [enough]"))

    assert summary(answer) == (
        "base model tiny@1.0.0 · nothing is near \\[enough] · score 0.20 · 42 ms"
    )


def test_thesummary_of_an_adapter_that_was_named_says_so() -> None:
    answer = answered("legal-qa-v1@1.0.0", Routing(reason="the query names legal-qa"))

    assert summary(answer) == "legal-qa-v1@1.0.0 · the query names legal-qa · 42 ms"
