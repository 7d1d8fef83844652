"""What the engine does with a request is counted, however it ends."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from inference.engine.protocol import Completion
from inference.worker.measuring import measured
from schemas.errors import Cancelled, PromptTooLong
from schemas.records import Query, Usage
from streams.interruption import Interruption
from streams.telemetry.metrics import WorkerMetrics

COMPLETION = Completion("x", "stop", Usage(7, 3), first_token_ms=0.0)


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(CollectorRegistry())


def counted(metrics: WorkerMetrics) -> dict[str, float]:
    """Requests by error type."""
    return {
        sample.labels["error_type"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gen_ai_server_request_duration_seconds_count"
    }


def served(metrics: WorkerMetrics) -> tuple[str, str, str, str]:
    return metrics.engine.labels(Query(id="q", prompt="x"), None, None, "tiny")


def test_an_answer_counts(metrics: WorkerMetrics) -> None:
    with measured(metrics.engine, served(metrics), Interruption()) as answered:
        answered(COMPLETION)
    assert counted(metrics) == {"": 1}


@pytest.mark.parametrize(
    ("error", "category"),
    [(PromptTooLong(9, 8), "invalid_request"), (RuntimeError("a fault"), "internal")],
)
def test_a_failure_counts_by_its_category(
    metrics: WorkerMetrics, error: Exception, category: str
) -> None:
    with (
        pytest.raises(type(error)),
        measured(metrics.engine, served(metrics), Interruption()),
    ):
        raise error
    assert counted(metrics) == {category: 1}


def test_an_interruption_counts_by_its_reason(metrics: WorkerMetrics) -> None:
    interruption = Interruption()
    interruption.end(Cancelled("The test says so."))
    with (
        pytest.raises(asyncio.CancelledError),
        measured(metrics.engine, served(metrics), interruption),
    ):
        raise asyncio.CancelledError
    assert counted(metrics) == {"cancelled": 1}


def test_what_another_member_takes_over_does_not_count(metrics: WorkerMetrics) -> None:
    with (
        pytest.raises(asyncio.CancelledError),
        measured(metrics.engine, served(metrics), Interruption()),
    ):
        raise asyncio.CancelledError
    assert counted(metrics) == {}
