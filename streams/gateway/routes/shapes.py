"""What answers look like, for the description of the API; nothing is built from these."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow")


class TokensUsed(_Shape):
    """Tokens read and written, and their sum."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TextChoice(_Shape):
    """The one choice of a completion."""

    index: int
    text: str
    finish_reason: str | None


class AssistantMessage(_Shape):
    """What the assistant says."""

    role: Literal["assistant"]
    content: str


class ChatChoice(_Shape):
    """The one choice of a chat completion."""

    index: int
    message: AssistantMessage
    finish_reason: str | None


class Completion(_Shape):
    """OpenAI's completion, and the decision that led to it."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: TokensUsed
    lorelay: dict[str, Any]


class ChatCompletion(_Shape):
    """OpenAI's chat completion, and the decision that led to it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokensUsed
    lorelay: dict[str, Any]


class Model(_Shape):
    """A name that `model` understands."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    lorelay: dict[str, Any]


class ModelList(_Shape):
    """All of them."""

    object: Literal["list"]
    data: list[Model]


class StoredAnswer(_Shape):
    """OpenAI's Response object."""

    id: str
    object: Literal["response"]
    status: Literal["completed", "incomplete", "failed", "cancelled", "in_progress"]


class Claimed(_Shape):
    """What a version's trainer says of it."""

    num_samples: int | None
    compliance_rate: float | None
    avg_response_quality: float | None


class ListedVersion(_Shape):
    """A version of an adapter."""

    adapter_id: str
    adapter_version: str
    base_model: str
    domain: str
    task_type: str
    status: Literal["registered", "canary", "active", "retired", "failed"]
    created_at: str | None
    metrics: Claimed


class VersionList(_Shape):
    """Every version that is registered."""

    adapters: list[ListedVersion]
    total: int


class VersionMetadata(_Shape):
    """All that is known of a version."""

    adapter_id: str
    adapter_version: str
    base_model: dict[str, Any]
    task: dict[str, Any]
    training: dict[str, Any]


class VersionFigures(_Shape):
    """A row of ThemisDB's `adapter_metrics`."""

    adapter_id: str
    timestamp: str
    num_requests: int
    avg_latency_ms: float | None
    p95_latency_ms: float | None
    error_rate: float
    throughput_qps: float


class RegisteredVersion(_Shape):
    """What a registration has done."""

    adapter_id: str
    adapter_version: str
    status: str
    result: Literal["new", "moved", "same"]
    warnings: list[str]


class TakenFeedback(_Shape):
    """The record as it was written."""

    query_id: str
    adapter: str | None
    rating: float | None


class Health(_Shape):
    """How the process is."""

    status: str
