"""The records on Lorelay's topics, as frozen dataclasses.

Names and meanings are those of ``schemas/avro/*.avsc``, which documents every field. Times
are timezone-aware UTC datetimes with millisecond precision, durations are floats in
milliseconds ending ``_ms``. A field with a default may be missing on the wire; one without
has been there since the first release and stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ResponseStatus = Literal["ok", "error"]
AdapterStatus = Literal["registered", "canary", "active", "retired", "failed"]
Fallback = Literal["previous", "base", "none"]

BASE = "base"
"""The reference that asks for the base model, and its name where an adapter's would stand."""

PREVIOUS = "previous"
"""The `fallback` that asks for an older version of the adapter's family."""


class Record:
    """What is a Kafka record of its own, with a schema in ``schemas/avro``."""

    __slots__ = ()


# What a client asks


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``role`` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample; None leaves the engine's default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Where a copy of the response goes."""

    topic: str
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Query(Record):
    """A question, either ``prompt`` or ``messages``."""

    id: str | None = None
    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    adapter: str | None = None
    fallback: str | None = None
    session: str | None = None
    tenant: str | None = None
    language: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    sampling: Sampling = Sampling()
    priority: int = 5
    deadline: datetime | None = None
    timeout_ms: float | None = None
    stream: bool = False
    reply_to: ReplyTo | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cancel(Record):
    """Stop working on a query, if nobody has answered it yet."""

    query_id: str
    reason: str | None = None
    created_at: datetime | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback(Record):
    """What a person thought of a response."""

    query_id: str
    adapter: str | None = None
    rating: float | None = None
    correction: str | None = None
    comment: str | None = None
    tenant: str | None = None
    created_at: datetime | None = None


# What becomes of it


@dataclass(frozen=True, slots=True)
class Origin:
    """The query record that everything about a query traces back to."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An adapter that selection weighed."""

    adapter: str
    score: float


@dataclass(frozen=True, slots=True)
class Routing:
    """Which adapter was chosen and why; ``adapter`` is ``id@version``, None the base model."""

    adapter: str | None = None
    score: float | None = None
    margin: float | None = None
    probability: float | None = None
    threshold: float | None = None
    reason: str = ""
    language: str | None = None
    candidates: tuple[Candidate, ...] = ()
    variant: str | None = None
    routed_at: datetime | None = None
    routing_ms: float | None = None


@dataclass(frozen=True, slots=True)
class InferenceRequest(Record):
    """A routed query on its way to a worker."""

    query: Query
    routing: Routing
    origin: Origin
    attempt: int = 1
    registry_revision: int = -1
    crashes: int = 0
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went; None is a stage that the query never reached."""

    queue_ms: float | None = None
    routing_ms: float | None = None
    engine_queue_ms: float | None = None
    first_token_ms: float | None = None
    inference_ms: float | None = None
    total_ms: float | None = None
    load_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why there is no answer; see ``schemas.errors`` for categories and codes."""

    category: str
    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Record):
    """The one answer to a query record."""

    query_id: str
    status: ResponseStatus
    text: str | None = None
    finish_reason: str | None = None
    adapter: str | None = None
    base_model: str | None = None
    routing: Routing | None = None
    usage: Usage = Usage()
    timing: Timing = Timing()
    error: ErrorInfo | None = None
    origin: Origin
    attempt: int = 1
    registry_revision: int = -1
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk(Record):
    """A piece of an answer while it is being written; a new attempt starts at sequence 0."""

    query_id: str
    origin: Origin
    attempt: int = 1
    sequence: int
    text: str = ""
    finish_reason: str | None = None
    adapter: str | None = None
    created_at: datetime | None = None


# Adapters


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The model an adapter was trained on."""

    name: str
    version: str | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Training:
    """How the adapter was trained."""

    dataset_name: str | None = None
    num_samples: int | None = None
    epochs: float | None = None
    learning_rate: float | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float | None = None
    target_modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the adapter comes from."""

    created_by: str | None = None
    data_source_uri: str | None = None
    parent_adapter_id: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """The adapter's folder, and the digest and size of its weights."""

    uri: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VllmInfo:
    """What the adapter asks of vLLM."""

    vllm_version: str | None = None
    max_lora_rank: int | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures that the trainer claims for the adapter."""

    compliance_rate: float | None = None
    avg_response_quality: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterVersion(Record):
    """One immutable version of an adapter, and the state it is in."""

    adapter_id: str
    adapter_version: str
    family: str
    domain: str
    task_type: str
    languages: tuple[str, ...] = ()
    base_model: BaseModel
    training: Training = Training()
    provenance: Provenance = Provenance()
    artifact: Artifact | None = None
    prompt_template: str | None = None
    vllm: VllmInfo = VllmInfo()
    quality: Quality = Quality()
    status: AdapterStatus = "registered"
    example_parts: int = 0
    custom: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None

    @property
    def key(self) -> str:
        """What the engine serves and responses name: ``adapter_id@adapter_version``."""
        return f"{self.adapter_id}@{self.adapter_version}"


@dataclass(frozen=True, slots=True)
class Example:
    """A text that an adapter answers; held-out ones fit its thresholds."""

    text: str
    language: str | None = None
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class ExampleSet(Record):
    """Part ``part`` (from 0) of the ``parts`` that a version's examples are split into."""

    adapter_id: str
    adapter_version: str
    part: int = 0
    parts: int = 1
    examples: tuple[Example, ...] = ()

    @property
    def key(self) -> str:
        """The version that these examples belong to, ``adapter_id@adapter_version``."""
        return f"{self.adapter_id}@{self.adapter_version}"


@dataclass(frozen=True, slots=True)
class TrafficShare:
    """One version's part of its family's queries."""

    adapter: str
    weight: float
    variant: str | None = None
    ranges: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TrafficSplit:
    """A split that a family had."""

    revision: int
    shares: tuple[TrafficShare, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version on trial beside those that serve."""

    adapter: str
    share: float
    shadow: bool = False
    started_at: datetime
    ends_at: datetime
    tolerated: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Traffic(Record):
    """How a family's queries are split over its versions, as a whole."""

    family: str
    revision: int = 0
    shares: tuple[TrafficShare, ...] = ()
    updated_by: str | None = None
    updated_at: datetime | None = None
    previous: tuple[TrafficSplit, ...] = ()
    canary: Canary | None = None


@dataclass(frozen=True, slots=True)
class LifecycleEvent(Record):
    """Who changed what in a family, when, why and on which figures."""

    family: str
    event: str
    adapter: str | None = None
    from_status: str | None = None
    to_status: str | None = None
    actor: str | None = None
    reason: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    revision: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    created_at: datetime | None = None


# Processes and figures


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState(Record):
    """What a worker can serve, and that it lives."""

    worker_id: str
    base_model: BaseModel
    engine: str = ""
    status: str = "ready"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_loras: int | None = None
    max_lora_rank: int | None = None
    resident_adapters: tuple[str, ...] = ()
    failed_adapters: Mapping[str, str] = field(default_factory=dict)
    in_flight: int = 0
    host: str | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterMetrics(Record):
    """One version's figures over a window, as counted from one partition of responses."""

    adapter_id: str
    adapter_version: str
    source_partition: int
    window_start: datetime
    window_end: datetime
    num_requests: int = 0
    num_errors: int = 0
    avg_latency_ms: float | None = None
    p50_latency_ms: float | None = None
    p95_latency_ms: float | None = None
    p99_latency_ms: float | None = None
    error_rate: float = 0.0
    throughput_qps: float = 0.0
    p50_first_token_ms: float | None = None
    p95_first_token_ms: float | None = None
    p50_queue_ms: float | None = None
    p95_queue_ms: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sketch: bytes = b""
    variant: str | None = None
    num_rejects: int = 0


RECORD_TYPES: tuple[type[Record], ...] = (
    Query,
    Cancel,
    Feedback,
    InferenceRequest,
    Response,
    Chunk,
    AdapterVersion,
    ExampleSet,
    Traffic,
    LifecycleEvent,
    WorkerState,
    AdapterMetrics,
)
"""Every kind of Record."""
