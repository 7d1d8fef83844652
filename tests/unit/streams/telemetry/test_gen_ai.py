"""OpenTelemetry's metrics for generative AI, as a scrape shows them."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from schemas.records import ErrorInfo, Message, Origin, Query, Response, Usage
from streams.telemetry.gateway import GatewayMetrics
from streams.telemetry.metrics import WorkerMetrics

LEGAL = "legal-qa-v1@1.0.0"
OPERATION = "gen_ai_client_operation_duration_seconds"
TOKENS = "gen_ai_client_token_usage"
REQUEST = "gen_ai_server_request_duration_seconds"
FIRST = "gen_ai_server_time_to_first_token_seconds"
EACH = "gen_ai_server_time_per_output_token_seconds"


def answer(adapter: str | None = LEGAL, error: ErrorInfo | None = None) -> Response:
    return Response(
        query_id="q",
        status="error" if error else "ok",
        adapter=adapter,
        base_model="tiny",
        usage=Usage(7, 300),
        error=error,
        origin=Origin("queries", 0, 0),
    )


def labels(asked: str, answered: str, operation: str = "text_completion") -> dict[str, str]:
    return {
        "gen_ai_operation_name": operation,
        "gen_ai_provider_name": "lorelay",
        "gen_ai_request_model": asked,
        "gen_ai_response_model": answered,
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def gateway(registry: CollectorRegistry) -> GatewayMetrics:
    metrics = GatewayMetrics(registry)
    metrics.know_registry([LEGAL], 1, ["legal-qa", "legal-qa-v1"])
    return metrics


@pytest.fixture
def worker(registry: CollectorRegistry) -> WorkerMetrics:
    metrics = WorkerMetrics(registry)
    metrics.know_adapters([LEGAL], 1)
    return metrics


def bounds(registry: CollectorRegistry, name: str) -> list[float]:
    """The upper bounds of the buckets that hold something, without the infinite one."""
    (family,) = [family for family in registry.collect() if family.name == name]
    return sorted(
        {float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels}
    )[:-1]


# At the gateway


def test_a_question_counts_with_its_time_its_tokens_and_both_models(
    gateway: GatewayMetrics, registry: CollectorRegistry
) -> None:
    gateway.observe_operation(Query(id="q", prompt="x", adapter="legal-qa"), answer(), None, 0.3)
    series = labels("legal-qa", LEGAL)
    assert registry.get_sample_value(f"{OPERATION}_sum", series | {"error_type": ""}) == 0.3
    for kind, tokens in (("input", 7), ("output", 300)):
        found = registry.get_sample_value(f"{TOKENS}_sum", series | {"gen_ai_token_type": kind})
        assert found == tokens


@pytest.mark.parametrize(
    ("asked", "shown"),
    [(None, "lorelay"), ("base", "base"), (LEGAL, LEGAL), ("made-up-v1@1.0.0", "other")],
)
def test_only_names_that_the_registry_has_are_models(
    gateway: GatewayMetrics, registry: CollectorRegistry, asked: str | None, shown: str
) -> None:
    query = Query(id="q", messages=(Message("user", "x"),), adapter=asked)
    gateway.observe_operation(query, answer(None), None, 0.1)
    series = labels(shown, "tiny", "chat") | {"error_type": ""}
    assert registry.get_sample_value(f"{OPERATION}_count", series) == 1


@pytest.mark.parametrize("response", [None, answer(None, ErrorInfo("engine", "e", "No.", True))])
def test_a_question_that_fails_counts_by_its_error_and_without_tokens(
    gateway: GatewayMetrics, registry: CollectorRegistry, response: Response | None
) -> None:
    error = ErrorInfo("engine", "e", "No.", True)
    gateway.observe_operation(Query(id="q", prompt="x"), response, error, 0.1)
    series = labels("lorelay", "tiny" if response else "") | {"error_type": "engine"}
    assert registry.get_sample_value(f"{OPERATION}_count", series) == 1
    assert f"{TOKENS}_count".encode() not in generate_latest(registry)


# At the worker


def test_an_answer_of_the_engine_counts_with_its_first_and_its_later_tokens(
    worker: WorkerMetrics, registry: CollectorRegistry
) -> None:
    engine = worker.engine
    served = engine.labels(Query(id="q", prompt="x"), LEGAL, LEGAL, "tiny")
    engine.answered(served, 0.5, first_token_ms=100.0, tokens=5)
    series = labels(LEGAL, LEGAL)
    assert registry.get_sample_value(f"{REQUEST}_sum", series | {"error_type": ""}) == 0.5
    assert registry.get_sample_value(f"{FIRST}_sum", series) == pytest.approx(0.1)
    assert registry.get_sample_value(f"{EACH}_sum", series) == pytest.approx(0.1)


def test_times_that_there_are_none_of_are_not_counted(
    worker: WorkerMetrics, registry: CollectorRegistry
) -> None:
    engine = worker.engine
    served = engine.labels(Query(id="q", prompt="x"), None, None, "tiny")
    engine.answered(served, 0.5, first_token_ms=None, tokens=5)
    engine.answered(served, 0.5, first_token_ms=500.0, tokens=1)
    series = labels("tiny", "tiny")
    assert registry.get_sample_value(f"{REQUEST}_count", series | {"error_type": ""}) == 2
    assert registry.get_sample_value(f"{FIRST}_count", series) == 1
    assert registry.get_sample_value(f"{EACH}_count", series) is None


def test_a_failure_of_the_engine_counts_by_its_error(
    worker: WorkerMetrics, registry: CollectorRegistry
) -> None:
    engine = worker.engine
    served = engine.labels(Query(id="q", prompt="x"), LEGAL, None, "tiny")
    engine.failed(served, 0.2, "deadline_exceeded")
    series = labels(LEGAL, "tiny") | {"error_type": "deadline_exceeded"}
    assert registry.get_sample_value(f"{REQUEST}_sum", series) == 0.2


def test_the_buckets_are_those_of_the_conventions(
    gateway: GatewayMetrics, registry: CollectorRegistry
) -> None:
    gateway.observe_operation(Query(id="q", prompt="x"), answer(), None, 0.3)
    assert bounds(registry, OPERATION) == pytest.approx(
        [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    )
    assert bounds(registry, TOKENS)[:4] == [1, 4, 16, 64]
    assert bounds(registry, TOKENS)[-1] == 67108864
