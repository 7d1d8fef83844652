"""Answers in OpenAI's shapes, read by the types of its own client."""

from datetime import UTC, datetime

from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response as StoredResponse

from schemas.records import Candidate, ErrorInfo, Origin, Response, Routing, Timing, Usage
from streams.gateway.openai.answers import StreamShape, answer
from streams.gateway.openai.decision import decision, decision_headers, header_text
from streams.gateway.openai.stored import pending_answer, stored_answer

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANSWERED = Response(
    query_id="q-1",
    status="ok",
    text="Three years.",
    finish_reason="stop",
    adapter="legal-qa-v1@1.2.0",
    base_model="demo-base",
    routing=Routing(
        adapter="legal-qa-v1@1.2.0",
        score=0.8123456,
        margin=0.2,
        probability=0.9,
        reason="nearest",
        variant="a",
        candidates=(Candidate("legal-qa-v1@1.2.0", 0.8),),
    ),
    usage=Usage(3, 4),
    timing=Timing(total_ms=12.3456),
    origin=Origin("queries", 0, 7),
    created_at=NOW,
)
FAILED = Response(
    query_id="q-1",
    status="error",
    error=ErrorInfo("engine", "engine_failed", "It failed."),
    origin=Origin("queries", 0, 7),
)


def test_a_completion_is_one() -> None:
    read = Completion.model_validate(answer("completion", ANSWERED), strict=True)
    assert (read.id, read.choices[0].text, read.model) == (
        "q-1",
        "Three years.",
        "legal-qa-v1@1.2.0",
    )
    assert read.usage is not None and read.usage.total_tokens == 7


def test_a_chat_completion_is_one() -> None:
    read = ChatCompletion.model_validate(answer("chat", ANSWERED), strict=True)
    assert read.choices[0].message.content == "Three years."
    assert read.choices[0].finish_reason == "stop"


def test_a_stream_names_the_role_first_and_its_end_last() -> None:
    shape = StreamShape("chat", "q-1", NOW, include_usage=True)
    pieces = [
        *(shape.delta("Three"), shape.delta(" years.")),
        *(shape.last(ANSWERED), shape.usage(ANSWERED)),
    ]
    read = [ChatCompletionChunk.model_validate(piece, strict=True) for piece in pieces]
    assert [chunk.choices[0].delta.role for chunk in read[:3]] == ["assistant", None, None]
    assert [chunk.choices[0].finish_reason for chunk in read[:3]] == [None, None, "stop"]
    assert pieces[2]["lorelay"]["adapter"] == "legal-qa-v1@1.2.0"
    assert [chunk.usage is None for chunk in read] == [True, True, True, False]
    assert read[3].choices == []


def test_the_decision_tells_who_answered_and_why() -> None:
    told = decision(ANSWERED)
    assert (told["adapter"], told["version"]) == ("legal-qa-v1@1.2.0", "1.2.0")
    assert (told["score"], told["reason"], told["variant"]) == (0.8123456, "nearest", "a")
    assert told["timing"]["total_ms"] == 12.3456
    headers = decision_headers(ANSWERED)
    assert headers["x-lorelay-score"] == "0.8123"
    assert headers["x-request-id"] == "q-1"


def test_a_header_holds_nothing_but_a_line_of_ascii() -> None:
    assert header_text("für\r\nx-evil: 1 100%") == "f%C3%BCr%0D%0Ax-evil: 1 100%25"
    assert header_text("\ud800").isascii()


def test_an_earlier_answer_is_read_as_a_response() -> None:
    read = StoredResponse.model_validate(stored_answer(ANSWERED))
    assert (read.status, read.output_text) == ("completed", "Three years.")
    assert read.usage is not None and read.usage.output_tokens == 4
    failed = StoredResponse.model_validate(stored_answer(FAILED))
    assert failed.status == "failed"
    assert failed.error is not None and failed.error.message == "It failed."
    assert StoredResponse.model_validate(pending_answer("q-1")).status == "in_progress"
