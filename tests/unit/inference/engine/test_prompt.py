"""What the engine reads."""

import pytest

from inference.engine.prompt import adapter_text, conversation, lines
from inference.engine.protocol import Generation, LoadedAdapter
from schemas.errors import InvalidRequest
from schemas.records import Message

TURNS = (Message("system", "Be brief."), Message("user", "Why?"), Message("user", "How?"))


def templated(template: str | None) -> LoadedAdapter:
    return LoadedAdapter("legal-qa-v1@1.0.0", "/nowhere", 8, template)


def test_a_bare_prompt_is_one_user_message() -> None:
    assert conversation(Generation("a", "Why?")) == (Message("user", "Why?"),)


def test_messages_go_before_a_prompt() -> None:
    assert conversation(Generation("a", "Why?", TURNS)) == TURNS


@pytest.mark.parametrize("prompt", [None, ""])
def test_neither_prompt_nor_messages_is_invalid(prompt: str | None) -> None:
    with pytest.raises(InvalidRequest):
        conversation(Generation("a", prompt))


def test_a_template_takes_the_last_user_message_alone() -> None:
    generation = Generation("a", messages=TURNS, adapter=templated("Q: {prompt}\nA: {x}"))
    assert adapter_text(generation) == "Q: How?\nA: {x}"


def test_without_a_template_there_is_no_text_of_the_adapters_own() -> None:
    assert adapter_text(Generation("a", "Why?")) is None
    assert adapter_text(Generation("a", "Why?", adapter=templated(None))) is None


def test_a_model_without_chat_template_reads_lines() -> None:
    assert lines(TURNS) == "Be brief.\nWhy?\nHow?\n"
