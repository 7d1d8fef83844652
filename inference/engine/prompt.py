"""What the engine reads: the rules that are the same for serving and training.

An adapter with a template of its own reads that and nothing else. All others read the base
model's chat template, or each message on a line if the base model has none.
"""

from collections.abc import Sequence

from inference.engine.protocol import Generation
from schemas.errors import InvalidRequest
from schemas.records import Message, Sampling

PLACE = "{prompt}"
"""Where an adapter's template takes the last user message."""


def conversation(generation: Generation) -> tuple[Message, ...]:
    """The messages; a bare prompt is one from the user. InvalidRequest if there is neither."""
    if generation.messages:
        return generation.messages
    if generation.prompt:
        return (Message("user", generation.prompt),)
    raise InvalidRequest("The query has neither a prompt nor messages.")


def adapter_text(generation: Generation) -> str | None:
    """The last user message in the adapter's own template; None if it brings none."""
    template = generation.adapter.prompt_template if generation.adapter else None
    if template is None:
        return None
    asked = [turn.content for turn in conversation(generation) if turn.role == "user"]
    return template.replace(PLACE, asked[-1] if asked else "")


def lines(messages: Sequence[Message]) -> str:
    """A conversation for a model that knows no chat template."""
    return "".join(f"{message.content}\n" for message in messages)


def check_sampling(sampling: Sampling) -> None:
    """Raise InvalidRequest for what no engine can sample by."""
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        raise InvalidRequest(f"max_tokens is {sampling.max_tokens}; it must be at least 1.")
    if sampling.temperature is not None and not 0 <= sampling.temperature < float("inf"):
        raise InvalidRequest(f"temperature is {sampling.temperature}; it must not be negative.")
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        raise InvalidRequest(f"top_p is {sampling.top_p}; it must lie above 0 and up to 1.")
    if "" in sampling.stop:
        raise InvalidRequest("A stop string is empty.")
