"""Every Prometheus metric of Lorelay: name, unit, labels and meaning, and nothing else.

Names follow Prometheus' custom: prefix ``lorelay_``, base units (seconds, not milliseconds)
in the name, counters ending ``_total``. docs/metrics.md holds this table as text.

Those that begin with ``gen_ai_`` are of OpenTelemetry's conventions for generative AI, with its
names, units, attributes and buckets, written as its specification has them for Prometheus: dots
become underscores, seconds are named at the end and ``{token}`` is not.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]
ProcessName = Literal["router", "worker", "gateway"]

UNROUTED = "unrouted"
"""Stands for the adapter of a response that failed before any adapter was chosen."""

OTHER = "other"
"""Stands for every adapter version that this process does not know, so labels stay bounded."""

SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
SCORES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
#: The conventions' boundaries: of whole operations, first tokens, later tokens, and tokens used.
OPERATION_SECONDS = tuple(0.01 * 2**power for power in range(14))
FIRST_TOKEN_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
OUTPUT_TOKEN_SECONDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5),
)
TOKENS = tuple(4**power for power in range(14))
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

_BOTH: tuple[ProcessName, ...] = ("router", "worker")
_ROUTER: tuple[ProcessName, ...] = ("router",)
_WORKER: tuple[ProcessName, ...] = ("worker",)
_GATEWAY: tuple[ProcessName, ...] = ("gateway",)
_ALL: tuple[ProcessName, ...] = (*_BOTH, *_GATEWAY)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``name`` is the name as scraped, ``buckets`` are in ``unit``."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    processes: tuple[ProcessName, ...] = _BOTH


def _counter(
    name: str,
    unit: str,
    meaning: str,
    labels: tuple[str, ...] = (),
    processes: tuple[ProcessName, ...] = _BOTH,
) -> Metric:
    return Metric(name, "counter", unit, meaning, labels, (), processes)


def _gauge(
    name: str,
    unit: str,
    meaning: str,
    labels: tuple[str, ...] = (),
    processes: tuple[ProcessName, ...] = _BOTH,
) -> Metric:
    return Metric(name, "gauge", unit, meaning, labels, (), processes)


def _histogram(
    name: str,
    unit: str,
    meaning: str,
    labels: tuple[str, ...] = (),
    buckets: tuple[float, ...] = SECONDS,
    processes: tuple[ProcessName, ...] = _BOTH,
) -> Metric:
    return Metric(name, "histogram", unit, meaning, labels, buckets, processes)


# Responses, counted by the process that writes them: nearly all by workers, by the router
# only those that fail before they reach a worker.

RESPONSES = _counter(
    "lorelay_responses_total",
    "responses",
    "Responses written, by outcome; category is the error's, empty when status is ok.",
    ("adapter", "status", "category"),
)
QUEUE = _histogram(
    "lorelay_queue_seconds",
    "seconds",
    "Time between a query record's creation and the router's reading it.",
    ("adapter",),
)
ROUTING = _histogram(
    "lorelay_routing_seconds",
    "seconds",
    "Time between the router's reading a query and its sending the request on.",
    ("adapter",),
)
ENGINE_QUEUE = _histogram(
    "lorelay_engine_queue_seconds",
    "seconds",
    "Time a request waited inside the engine for a place in the batch.",
    ("adapter",),
)
FIRST_TOKEN = _histogram(
    "lorelay_first_token_seconds",
    "seconds",
    "Time between a request's arrival in the engine and its first token.",
    ("adapter",),
)
INFERENCE = _histogram(
    "lorelay_inference_seconds",
    "seconds",
    "Time between a request's first scheduling in the engine and its last token.",
    ("adapter",),
)
TOTAL = _histogram(
    "lorelay_total_seconds",
    "seconds",
    "Time between a query record's creation and the making of its response.",
    ("adapter",),
)
PROMPT_TOKENS = _counter(
    "lorelay_prompt_tokens_total", "tokens", "Tokens read from prompts.", ("adapter",)
)
COMPLETION_TOKENS = _counter(
    "lorelay_completion_tokens_total", "tokens", "Tokens generated.", ("adapter",)
)

VARIANT_RESPONSES = _counter(
    "lorelay_variant_responses_total",
    "responses",
    "Responses to queries that a traffic split has given to a version, by its arm (variant). Those "
    "that named the exact version are not among them, though in all that is counted by adapter.",
    ("adapter", "variant", "status"),
)

# Kafka

TRANSACTIONS = _counter(
    "lorelay_transactions_total",
    "transactions",
    "Kafka transactions by outcome: committed, aborted, fenced (another member owns the "
    "partition now) or unknown (the broker did not say; offsets are read again).",
    ("outcome",),
)
TRANSACTION = _histogram(
    "lorelay_transaction_seconds",
    "seconds",
    "Duration of a Kafka transaction from its begin to its outcome.",
    ("outcome",),
)
CONSUMER_LAG = _gauge(
    "lorelay_consumer_lag_records",
    "records",
    "Offsets between the last record fetched and the end of the partition.",
    ("topic", "partition"),
)
WINDOW_SPAN = _gauge(
    "lorelay_window_span_offsets",
    "offsets",
    "Offsets between the oldest unfinished and the newest fetched record of a partition.",
    ("topic", "partition"),
)
PAUSED_PARTITIONS = _gauge(
    "lorelay_paused_partitions",
    "partitions",
    "Assigned partitions that are paused for back-pressure.",
)
RETENTION_LOST = _counter(
    "lorelay_retention_lost_records_total",
    "records",
    "Records that the topic's retention deleted before they were finished, because the group was "
    "away for too long or too far behind. They get no response.",
    ("topic",),
)
DECODE_ERRORS = _counter(
    "lorelay_decode_errors_total",
    "records",
    "Records that could not be decoded.",
    ("topic",),
    _ALL,
)
DEAD_LETTERS = _counter(
    "lorelay_dead_letters_total",
    "records",
    "Records kept on the dead-letters topic, by the topic they came from.",
    ("topic", "category"),
)

# Registry

REGISTRY_REVISION = _gauge(
    "lorelay_registry_revision",
    "offset",
    "Revision of the adapter registry that this process has read to.",
    (),
    _ALL,
)
ADAPTERS_KNOWN = _gauge(
    "lorelay_adapters_known",
    "adapters",
    "Adapter versions that this process knows.",
    (),
    _ALL,
)
BUILD_INFO = Metric(
    "lorelay_build_info",
    "info",
    "",
    "Always 1; the labels tell the process, its version and its Python.",
    ("process", "version", "python"),
    (),
    _ALL,
)

# Router

ROUTED = _counter(
    "lorelay_router_queries_total",
    "queries",
    "Queries routed to a worker. choice is selected, or named (by the query), or why the base "
    "model answers: below_threshold (no adapter is near enough), undecided (two are equally "
    "near), uncompared (the query asks for it, or there is no adapter to compare with).",
    ("adapter", "choice"),
    _ROUTER,
)
ROUTER_QUEUE = _histogram(
    "lorelay_router_queue_seconds",
    "seconds",
    "The same as lorelay_queue_seconds, seen as the query is routed, not as it is answered.",
    ("adapter",),
    SECONDS,
    _ROUTER,
)
ROUTER_ROUTING = _histogram(
    "lorelay_router_routing_seconds",
    "seconds",
    "The same as lorelay_routing_seconds, seen as the query is routed, not as it is answered.",
    ("adapter",),
    SECONDS,
    _ROUTER,
)
ROUTER_BATCH = _histogram(
    "lorelay_router_batch_queries",
    "queries",
    "Queries in one micro-batch, that is in one transaction.",
    (),
    SIZES,
    _ROUTER,
)
ROUTER_ENCODE = _histogram(
    "lorelay_router_encode_seconds",
    "seconds",
    "Time to turn the texts of one micro-batch into vectors.",
    (),
    SECONDS,
    _ROUTER,
)
ROUTER_TEXTS = _counter(
    "lorelay_router_encoder_texts_total",
    "texts",
    "Texts that selection needed a vector of. source is encoded, or reused: an equal text was in "
    "the same batch or in the encoder's cache (LORELAY_ENCODER_CACHE).",
    ("source",),
    _ROUTER,
)
ROUTER_IN_FLIGHT = _gauge(
    "lorelay_router_in_flight_queries",
    "queries",
    "Queries fetched and not yet committed with their requests.",
    (),
    _ROUTER,
)
TRAFFIC_SHARE = _gauge(
    "lorelay_router_traffic_share_ratio",
    "ratio",
    "Part of the family's sessions that a version answers now, by its arm (variant) of the split.",
    ("family", "adapter", "variant"),
    _ROUTER,
)
TRAFFIC_REVISION = _gauge(
    "lorelay_router_traffic_revision",
    "revision",
    "Revision of the family's traffic split that this router goes by.",
    ("family",),
    _ROUTER,
)
CANARY_EVIDENCE = _gauge(
    "lorelay_router_canary_evidence_ratio",
    "ratio",
    "Evidence on a canary that is on trial, as a part of what decides (1), in logarithms: towards "
    "worse (it is rolled back) or fine (it may be promoted), by measure. Only at the router that "
    "judges.",
    ("family", "adapter", "measure", "towards"),
    _ROUTER,
)
CANARY_VERDICTS = _counter(
    "lorelay_router_canary_verdicts_total",
    "verdicts",
    "Trials of canaries that this router has decided: promote, roll_back or undecided.",
    ("outcome",),
    _ROUTER,
)
NEAREST = _counter(
    "lorelay_router_nearest_queries_total",
    "queries",
    "Queries that were compared with adapters, by the one nearest to them, whether it was chosen "
    "or not, and by their language. choice is selected, below_threshold or undecided.",
    ("adapter", "language", "choice"),
    _ROUTER,
)
NEAREST_SCORE = _histogram(
    "lorelay_router_nearest_score",
    "score",
    "Scores of the adapter nearest to a query, whether it was chosen or not.",
    ("adapter", "language"),
    SCORES,
    _ROUTER,
)
DRIFT = _gauge(
    "lorelay_router_drift_psi",
    "index",
    "Population stability index of the scores that reached the adapter's threshold, in the last "
    "LORELAY_DRIFT_WINDOW seconds against calibration. Not there below 100 queries.",
    ("adapter", "language"),
    _ROUTER,
)
DRIFT_BY_CHANCE = _gauge(
    "lorelay_router_drift_psi_by_chance",
    "index",
    "What lorelay_router_drift_psi exceeds once in a thousand looks although nothing has changed, "
    "by how few scores it is made of.",
    ("adapter", "language"),
    _ROUTER,
)
SHADOW = _counter(
    "lorelay_router_shadow_queries_total",
    "queries",
    "Queries that a shadow selector was given, by the adapter that was chosen without it. outcome "
    "is same, other_adapter, shadow_rejects, shadow_accepts (where none was chosen), dropped (it "
    "does not keep up, or has yet to learn an adapter) or failed.",
    ("adapter", "outcome"),
    _ROUTER,
)
METRIC_WINDOWS = _counter(
    "lorelay_router_metric_windows_total",
    "records",
    "AdapterMetrics records written by the metrics agent.",
    (),
    _ROUTER,
)
LATE_RESPONSES = _counter(
    "lorelay_router_late_responses_total",
    "responses",
    "Responses counted in a later window, because theirs was written already.",
    (),
    _ROUTER,
)

# Worker

WORKER_IN_FLIGHT = _gauge(
    "lorelay_worker_in_flight_requests",
    "requests",
    "Requests handed to the engine and not yet finished.",
    ("adapter",),
    _WORKER,
)
WORKER_WAITING = _gauge(
    "lorelay_worker_waiting_requests",
    "requests",
    "Requests fetched that wait for their turn at the engine.",
    (),
    _WORKER,
)
WORKER_RESTARTS = _counter(
    "lorelay_worker_engine_restarts_total",
    "restarts",
    "Times that a dead or hanging engine was started again.",
    (),
    _WORKER,
)
WORKER_FLUSH = _histogram(
    "lorelay_worker_flush_responses",
    "responses",
    "Responses in one transaction.",
    (),
    SIZES,
    _WORKER,
)
WORKER_RETRIES = _counter(
    "lorelay_worker_retries_total",
    "requests",
    "Requests written back for another attempt.",
    ("category",),
    _WORKER,
)
WORKER_ADAPTER_LOAD = _histogram(
    "lorelay_worker_adapter_load_seconds",
    "seconds",
    "Time to fetch, verify and load an adapter into the engine, by outcome: ok or error. Its count "
    "is the number of loads.",
    ("outcome",),
    SECONDS,
    _WORKER,
)
WORKER_ADAPTER_FETCH = _histogram(
    "lorelay_worker_adapter_fetch_seconds",
    "seconds",
    "Time to fetch an adapter's files from s3:// or https:// to this host's disk, by outcome: ok "
    "or error. What is on the disk already is not fetched.",
    ("outcome",),
    SECONDS,
    _WORKER,
)
WORKER_FETCHED_BYTES = _counter(
    "lorelay_worker_adapter_fetched_bytes_total",
    "bytes",
    "Bytes of adapters fetched to this host's disk.",
    (),
    _WORKER,
)
WORKER_EVICTIONS = _counter(
    "lorelay_worker_adapter_evictions_total",
    "adapters",
    "Adapters that made room for others, by where: engine, or disk (this process's fetches only).",
    ("place",),
    _WORKER,
)
WORKER_RESIDENT = _gauge(
    "lorelay_worker_adapters_resident",
    "adapters",
    "Adapter versions that the engine holds.",
    (),
    _WORKER,
)
WORKER_SHADOW = _counter(
    "lorelay_worker_shadow_requests_total",
    "requests",
    "Requests that a version in shadow was to answer, too: ok, error, or dropped for want of room.",
    ("outcome",),
    _WORKER,
)
WORKER_COLD = _counter(
    "lorelay_worker_cold_requests_total",
    "requests",
    "Requests that had to wait, when their turn came, for their adapter to be loaded.",
    ("adapter",),
    _WORKER,
)
WORKER_STORE_BYTES = _gauge(
    "lorelay_worker_adapter_store_bytes",
    "bytes",
    "Bytes of the adapters on this host's disk that were fetched, and of those on their way. "
    "Workers that share the folder report the same bytes.",
    (),
    _WORKER,
)


# Gateway

GATEWAY_REQUESTS = _counter(
    "lorelay_gateway_requests_total",
    "requests",
    "HTTP requests, by the route that took them and the status of the response.",
    ("route", "status"),
    _GATEWAY,
)
GATEWAY_REQUEST = _histogram(
    "lorelay_gateway_request_seconds",
    "seconds",
    "Time from a request's headers to the last byte of its response.",
    ("route",),
    SECONDS,
    _GATEWAY,
)
GATEWAY_FIRST_CHUNK = _histogram(
    "lorelay_gateway_first_chunk_seconds",
    "seconds",
    "Time from a streamed query's being sent to its first chunk.",
    (),
    SECONDS,
    _GATEWAY,
)
GATEWAY_IN_FLIGHT = _gauge(
    "lorelay_gateway_in_flight_queries",
    "queries",
    "Queries that were sent and are not answered yet.",
    (),
    _GATEWAY,
)
GATEWAY_STREAMS = _gauge(
    "lorelay_gateway_open_streams", "streams", "Answers that are being streamed.", (), _GATEWAY
)
GATEWAY_VIEWERS = _gauge(
    "lorelay_gateway_dashboard_viewers",
    "viewers",
    "Who looks at the dashboard through this gateway.",
    (),
    _GATEWAY,
)
GATEWAY_DASHBOARD_READERS = _gauge(
    "lorelay_gateway_dashboard_readers",
    "readers",
    "1 while Kafka is read for the dashboard, however many look; 0 while nobody does.",
    (),
    _GATEWAY,
)
GATEWAY_CANCELS = _counter(
    "lorelay_gateway_cancels_total",
    "queries",
    "Queries taken back, because their client left or was too slow.",
    (),
    _GATEWAY,
)
GATEWAY_BROKEN_STREAMS = _counter(
    "lorelay_gateway_broken_streams_total",
    "streams",
    "Streams that ended with an error, because the answer was begun anew and became another one.",
    (),
    _GATEWAY,
)
GATEWAY_FOREIGN_REPLIES = _counter(
    "lorelay_gateway_foreign_replies_total",
    "responses",
    "Replies read that nobody waits for here: of another gateway on the same partition, or of a "
    "client who has left.",
    (),
    _GATEWAY,
)

GATEWAY_FEEDBACK = _counter(
    "lorelay_gateway_feedback_total",
    "opinions",
    "Opinions of answers that this gateway took, by who answered; verdict is good for a rating of "
    "0.5 or above, bad below, none where there is no rating.",
    ("adapter", "verdict"),
    _GATEWAY,
)

# OpenTelemetry's

_GEN_AI = (
    *("gen_ai_operation_name", "gen_ai_provider_name"),
    *("gen_ai_request_model", "gen_ai_response_model"),
)

CLIENT_OPERATION = _histogram(
    "gen_ai_client_operation_duration_seconds",
    "seconds",
    "gen_ai.client.operation.duration: time from a question that is accepted to the last byte of "
    "its answer; error_type is the error's category, empty where all is well.",
    (*_GEN_AI, "error_type"),
    OPERATION_SECONDS,
    _GATEWAY,
)
CLIENT_TOKENS = _histogram(
    "gen_ai_client_token_usage",
    "tokens",
    "gen_ai.client.token.usage: tokens of one answer, input (read) and output (generated).",
    (*_GEN_AI, "gen_ai_token_type"),
    TOKENS,
    _GATEWAY,
)
SERVER_REQUEST = _histogram(
    "gen_ai_server_request_duration_seconds",
    "seconds",
    "gen_ai.server.request.duration: time from handing a request to the engine to its last token; "
    "each attempt counts. error_type is the error's category, empty where all is well.",
    (*_GEN_AI, "error_type"),
    OPERATION_SECONDS,
    _WORKER,
)
SERVER_FIRST_TOKEN = _histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "seconds",
    "gen_ai.server.time_to_first_token: time from a request's arrival in the engine to its first "
    "token, where the engine tells it.",
    _GEN_AI,
    FIRST_TOKEN_SECONDS,
    _WORKER,
)
SERVER_OUTPUT_TOKEN = _histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "seconds",
    "gen_ai.server.time_per_output_token: time from an answer's first token to its last, for each "
    "token after the first, where the engine tells it.",
    _GEN_AI,
    OUTPUT_TOKEN_SECONDS,
    _WORKER,
)

ALL: tuple[Metric, ...] = tuple(value for value in [*globals().values()] if type(value) is Metric)
"""Every metric above, in this order."""


def markdown_table(process: ProcessName | None = None) -> str:
    """The metrics as a Markdown table: all, or those that one process serves."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {metric.unit or '-'} "
        f"| {', '.join(metric.labels) or '-'} | {', '.join(metric.processes)} | {metric.meaning} |"
        for metric in ALL
        if process is None or process in metric.processes
    ]
    head = ["| metric | type | unit | labels | served by | meaning |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    print(markdown_table())
