"""A conversation as token ids: the form the worker sends, and so the form that is trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from inference.engine.prompt import PLACE, lines
from schemas.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[Message],
    template: str | None = None,
) -> list[int]:
    """Token ids of everything before the answer, the start token included.

    With `template` (an adapter's own, with ``{prompt}`` in it) the last user message is put into
    it and other messages are left out. Else the tokenizer's chat template renders the messages
    with ``add_generation_prompt=True``. A tokenizer without one gets each message and a newline.
    """
    if template is not None:
        asked = [message.content for message in messages if message.role == "user"]
        return _encode(tokenizer, template.replace(PLACE, asked[-1] if asked else ""))
    if not messages:
        return _encode(tokenizer, "")
    if tokenizer.chat_template is None:
        return _encode(tokenizer, lines(messages))
    turns = [{"role": message.role, "content": message.content} for message in messages]
    rendered = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return _encode(tokenizer, cast(str, rendered), special=False)


def answer_ids(tokenizer: "PreTrainedTokenizerBase", answer: str) -> list[int]:
    """Token ids of an answer and of the token that ends it, without a start token."""
    ids = _encode(tokenizer, answer, special=False)
    end = tokenizer.eos_token_id
    return ids if end is None else [*ids, cast(int, end)]


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str, special: bool = True) -> list[int]:
    return cast(list[int], tokenizer.encode(text, add_special_tokens=special))
