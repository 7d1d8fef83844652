"""What OpenAI's clients may ask, and the query that it becomes. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from schemas.records import Message, Query, ReplyTo, Sampling
from streams.gateway.failures import InvalidParameter
from streams.gateway.openai.fields import Content, Context, Ignored, Only, Prompt, Stops
from streams.gateway.request_body import RequestBody

_INT32 = 2**31 - 1
_INT64 = 2**63 - 1

Name: TypeAlias = Annotated[str, Field(max_length=200)]


class StreamOptions(RequestBody):
    """What else a stream brings."""

    include_usage: bool | None = Field(
        default=None, description="A last chunk with the tokens used, and no choice."
    )
    include_obfuscation: Ignored = None


class Asked(RequestBody):
    """What a completion and a chat completion have in common.

    What is declared as Ignored is, as with OpenAI's models that don't know it; what would change
    the answer and is not supported is refused, as is what nobody knows.
    """

    model: Name | None = Field(
        default=None,
        description="An adapter as id@version, id or family; `base` for the base model; `lorelay`, "
        "`auto` or the base model's name to have the adapter selected.",
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=_INT32)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-_INT64 - 1, le=_INT64)
    stop: Stops | None = None
    user: Name | None = Field(default=None, description="The session, where none is given.")

    # Ours: OpenAI's client sends them by `extra_body`.
    lora_name: Name | None = Field(
        default=None, description="An adapter as in `model`, which it goes before."
    )
    id: str | None = Field(
        default=None,
        pattern=r"^[!-~]{1,200}$",
        description="The query's id; X-Request-Id if missing, else a new one.",
    )
    session: Name | None = Field(
        default=None, description="Queries of one session get the same variant of an adapter."
    )
    language: str | None = Field(default=None, max_length=35, description="As de; or detected.")
    fallback: Literal["previous", "base", "none"] | None = Field(
        default=None, description="Who answers where the adapter can't be loaded."
    )
    priority: int | None = Field(default=None, ge=0, le=9, description="9 goes first; 5.")
    timeout_ms: float | None = Field(
        default=None, gt=0, le=24 * 3600 * 1000, description="How long the query may take."
    )
    context: Context | None = Field(default=None, description="Marks that go with the query.")

    n: Annotated[Any, Only(1)] = None
    presence_penalty: Annotated[Any, Only(0)] = None
    frequency_penalty: Annotated[Any, Only(0)] = None
    logit_bias: Annotated[Any, Only({})] = None
    metadata: Ignored = None
    service_tier: Ignored = None

    def text_size(self) -> int:
        """Characters that the model is to read."""
        raise NotImplementedError

    def question(self) -> dict[str, Any]:
        """The query's `prompt` or `messages`."""
        raise NotImplementedError

    def most_tokens(self) -> int | None:
        """The query's `max_tokens`."""
        return self.max_tokens


class AskedCompletion(Asked):
    """A request for a text completion."""

    prompt: Prompt
    best_of: Annotated[Any, Only(1)] = None
    echo: Annotated[Any, Only(False)] = None
    logprobs: Annotated[Any, Only(False)] = None
    suffix: Annotated[Any, Only("")] = None

    def text_size(self) -> int:
        """Characters of the prompt."""
        return len(self.prompt)

    def question(self) -> dict[str, Any]:
        """The prompt."""
        return {"prompt": self.prompt}


class AskedMessage(RequestBody):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = ""
    name: Ignored = None
    refusal: Ignored = None
    annotations: Ignored = None
    tool_call_id: Ignored = None
    tool_calls: Annotated[Any, Only([])] = None
    function_call: Annotated[Any, Only()] = None
    audio: Annotated[Any, Only()] = None


class AskedChat(Asked):
    """A request for a chat completion."""

    messages: list[AskedMessage] = Field(min_length=1, max_length=2048, fail_fast=True)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=_INT32)
    logprobs: Annotated[Any, Only(False)] = None
    top_logprobs: Annotated[Any, Only(0)] = None
    response_format: Annotated[Any, Only({"type": "text"})] = None
    tools: Annotated[Any, Only([])] = None
    tool_choice: Annotated[Any, Only("none", "auto")] = None
    functions: Annotated[Any, Only([])] = None
    function_call: Annotated[Any, Only("none", "auto")] = None
    modalities: Annotated[Any, Only(["text"])] = None
    audio: Annotated[Any, Only()] = None
    web_search_options: Annotated[Any, Only()] = None
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_retention: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    store: Ignored = None
    verbosity: Ignored = None

    def text_size(self) -> int:
        """Characters of all messages."""
        return sum(len(message.content) for message in self.messages)

    def question(self) -> dict[str, Any]:
        """The messages."""
        return {
            "messages": tuple(Message(message.role, message.content) for message in self.messages)
        }

    def most_tokens(self) -> int | None:
        """`max_completion_tokens`, which has taken the place of `max_tokens`."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def query_of(
    asked: Asked,
    *,
    query_id: str,
    adapter: str | None,
    reply_to: ReplyTo | None,
    timeout_ms: float,
    prompt_chars: int,
    now: datetime,
    headers: Mapping[str, str],
    tenant: str | None = None,
    highest_priority: int = 9,
) -> Query:
    """The query that is asked, with its id; `timeout_ms` where it says none.

    A priority above the highest is lowered to that.

    Raises: InvalidParameter.
    """
    if asked.stream_options is not None and not asked.stream:
        raise InvalidParameter("stream_options", "stream_options: needs stream to be true.")
    question = asked.question()
    if (size := asked.text_size()) > prompt_chars:
        (param,) = question
        raise InvalidParameter(
            param,
            f"{param}: has {size:,} characters, {prompt_chars:,} are allowed.",
            "string_above_max_length",
        )
    return Query(
        id=query_id,
        **question,
        adapter=adapter,
        fallback=asked.fallback,
        session=asked.session or headers.get("x-session-id") or asked.user or None,
        tenant=tenant,
        language=asked.language or None,
        context=asked.context or {},
        sampling=Sampling(
            max_tokens=asked.most_tokens(),
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=asked.seed,
            stop=tuple(asked.stop or ()),
        ),
        priority=min(highest_priority, 5 if asked.priority is None else asked.priority),
        timeout_ms=timeout_ms if asked.timeout_ms is None else asked.timeout_ms,
        stream=bool(asked.stream),
        reply_to=reply_to,
        created_at=now,
    )
