"""From what OpenAI's clients send to a query."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.records import Message, Query, ReplyTo, Sampling
from schemas.validation import validate_query
from streams.gateway.failures import InvalidParameter
from streams.gateway.openai.requests import Asked, AskedChat, AskedCompletion, query_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REPLY_TO = ReplyTo("lorelay.replies", 3)


def query(asked: Asked, adapter: str | None = None, **headers: str) -> Query:
    made = query_of(
        asked,
        query_id="q-1",
        adapter=adapter,
        reply_to=REPLY_TO,
        timeout_ms=60_000,
        prompt_chars=100,
        now=NOW,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    validate_query(made)
    return made


def completion(**fields: Any) -> AskedCompletion:
    return AskedCompletion.model_validate({"prompt": "What now?"} | fields)


def chat(**fields: Any) -> AskedChat:
    turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What now?"}]
    return AskedChat.model_validate({"messages": turns} | fields)


def test_a_prompt_becomes_a_query_that_is_answered_here() -> None:
    assert query(completion()) == Query(
        id="q-1",
        prompt="What now?",
        timeout_ms=60_000,
        reply_to=REPLY_TO,
        created_at=NOW,
    )


def test_a_conversation_becomes_messages() -> None:
    made = query(chat(stream=True), adapter="legal-qa")
    assert made.messages == (Message("system", "Be short."), Message("user", "What now?"))
    assert made.prompt is None
    assert (made.adapter, made.stream) == ("legal-qa", True)


def test_sampling_is_passed_on() -> None:
    asked = completion(max_tokens=5, temperature=0, top_p=0.5, seed=7, stop=["a", "b"])
    assert query(asked).sampling == Sampling(5, 0.0, 0.5, 7, ("a", "b"))
    assert query(completion(stop="a")).sampling.stop == ("a",)
    assert query(chat(max_tokens=5, max_completion_tokens=6)).sampling.max_tokens == 6


def test_our_own_fields_are_passed_on() -> None:
    asked = chat(
        session="s", language="de", fallback="base", priority=9, timeout_ms=5.0, context={"a": "b"}
    )
    made = query(asked)
    assert (made.session, made.language, made.fallback) == ("s", "de", "base")
    assert (made.priority, made.timeout_ms, made.context) == (9, 5.0, {"a": "b"})


def test_the_session_is_the_body_s_or_the_header_s_or_the_user() -> None:
    assert query(chat(session="s", user="u"), x_session_id="h").session == "s"
    assert query(chat(user="u"), x_session_id="h").session == "h"
    assert query(chat(user="u")).session == "u"
    assert query(chat()).session is None


def test_a_question_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="has 101 characters, 100 are allowed") as refused:
        query(completion(prompt="x" * 101))
    assert (refused.value.param, refused.value.openai_code) == ("prompt", "string_above_max_length")
    with pytest.raises(InvalidParameter, match="messages"):
        query(chat(messages=[{"role": "user", "content": "x" * 51}] * 2))


def test_options_of_a_stream_need_a_stream() -> None:
    with pytest.raises(InvalidParameter, match="needs stream"):
        query(chat(stream_options={"include_usage": True}))
