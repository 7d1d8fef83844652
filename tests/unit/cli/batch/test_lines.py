"""Lines of a batch, good and bad."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cli.batch.lines import (
    BadLine,
    Line,
    Questions,
    answered,
    is_failure,
    read_lines,
    refused,
    unanswered,
    unreadable,
)
from schemas.errors import RequestError, UnknownAdapter
from schemas.records import ErrorInfo, Origin, Response
from streams.registry.reader import Registry
from tests.unit.streams.registry.factories import NOW, version

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


def request(custom_id: Any = "a", **changes: Any) -> bytes:
    line = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": HELLO} | changes
    return json.dumps(line).encode() + b"\n"


def read(*lines: bytes, run: str = "r") -> list[Line | BadLine]:
    return list(read_lines(lines, run))


def one(*, run: str = "r", **changes: Any) -> Line:
    (line,) = read(request(**changes), run=run)
    assert isinstance(line, Line)
    return line


def questions() -> Questions:
    registry = Registry()
    registry.apply_version("legal-qa-v1@1.0.0", version(), 0)
    return Questions(registry, ["tiny"], 60_000)


def test_an_id_stays_the_same_and_is_another_in_another_run() -> None:
    assert one().id == one().id
    assert len({one().id, one(run="c").id, one(custom_id="b").id, one(body={}).id}) == 4


def test_an_id_does_not_depend_on_other_lines_nor_on_how_its_own_ends() -> None:
    first, bad, last = read(request("a"), b"{\n", request("z"))
    assert [line.id for line in read(request("z").strip(), b"{", request("a"))] == [
        last.id,
        bad.id,
        first.id,
    ]


def test_a_bad_line_s_id_is_another_at_another_place_or_with_another_text() -> None:
    here, there, other = read(b"{\n", b"{\n", b"}\n")
    (instead,) = read(b"}\n")
    assert len({here.id, there.id, other.id, instead.id}) == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{\n", "no JSON"),
        (b"[]\n", "no JSON object"),
        (b"\xff\n", "no JSON"),
        (request(None), "custom_id is missing"),
        (request(7), "custom_id is missing"),
        (request(method="GET"), "it must be POST"),
        (request(url="/v1/embeddings"), "it must be one of"),
        (request(url=None), "it must be one of"),
        (request(url=[]), "it must be one of"),
        (request(body=None), "body is missing"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_the_others_are_read(
    text: bytes, problem: str
) -> None:
    first, bad, last = read(request("a"), text, request("z"))
    assert isinstance(first, Line) and isinstance(last, Line)
    assert isinstance(bad, BadLine)
    assert bad.problem.startswith("line 2: ") and problem in bad.problem


def test_of_two_lines_with_one_custom_id_the_first_counts() -> None:
    first, second = read(request("a"), request("a"))
    assert isinstance(first, Line)
    assert isinstance(second, BadLine) and "was there before" in second.problem


def test_empty_lines_are_nothing() -> None:
    assert read(b"\n", b"  \n") == []


def test_a_line_becomes_the_query_that_the_gateway_would_make_of_it() -> None:
    body = {"model": "legal-qa", "prompt": "x", "max_tokens": 5, "timeout_ms": 1000}
    query = questions().query(one(url="/v1/completions", body=body), NOW)
    assert (query.prompt, query.adapter, query.timeout_ms) == ("x", "legal-qa", 1000)
    assert query.sampling.max_tokens == 5
    assert questions().query(one(body=HELLO | {"model": "tiny"}), NOW).adapter is None


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (HELLO | {"stream": True}, 400, "stream"),
        (HELLO | {"temperature": 3}, 400, "temperature"),
        (HELLO | {"colour": "red"}, 400, "colour"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "messages[0].content"),
        (HELLO | {"model": "legal-aq"}, 404, "model"),
    ],
)
def test_what_the_gateway_would_refuse_is_answered_as_it_would(
    body: dict[str, Any], status: int, param: str
) -> None:
    line = one(body=body)
    with pytest.raises(RequestError) as error:
        questions().query(line, NOW)
    told = json.loads(refused(line, error.value))
    assert (told["custom_id"], told["error"]) == ("a", None)
    assert told["response"]["status_code"] == status
    assert told["response"]["body"]["error"]["param"] == param


def response(**changes: Any) -> Response:
    made = Response(query_id="q", status="ok", text="Hi.", origin=Origin("t", 0, 0), created_at=NOW)
    return replace(made, **changes)


def test_an_answer_has_openai_s_shape() -> None:
    line = one()
    told = json.loads(answered(line, response()))
    assert list(told) == ["id", "custom_id", "response", "error"]
    assert (told["id"], told["custom_id"], told["error"]) == (line.id, "a", None)
    assert told["response"]["status_code"] == 200
    assert told["response"]["request_id"] == line.id
    assert told["response"]["body"]["choices"][0]["message"]["content"] == "Hi."
    assert not is_failure(answered(line, response()))


def test_what_is_no_answer_is_a_failure() -> None:
    error = ErrorInfo("engine", "engine_failed", "It failed.", True)
    line = one()
    failed = answered(line, response(status="error", text=None, error=error))
    assert json.loads(failed)["response"]["status_code"] == 502
    for text in (
        failed,
        refused(line, UnknownAdapter("x")),
        unanswered(line, "No answer."),
        unreadable(BadLine("bad", "line 1: it is no JSON")),
    ):
        assert is_failure(text)
