"""A question to a model ends one way or another, and its span and the metrics say which."""

import asyncio

import pytest
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from schemas.errors import Cancelled, DeadlineExceeded, RequestError
from schemas.records import ErrorInfo, Origin, Query, Response, Routing, Usage
from streams.gateway.failures import (
    ClientLeft,
    ClientTooSlow,
    KafkaUnavailable,
    StreamBroken,
    Unanswered,
)
from streams.gateway.operation import Operation
from streams.telemetry.gateway import GatewayMetrics
from streams.telemetry.tracing import UNTOLD
from tests.unit.streams.telemetry.told import Told, attributes

SPAN = "POST /ask"
QUERY = Query(id="q", prompt="Eine geheime Frage", stream=True)
ORIGIN = Origin("queries", 0, 0)
ANSWER = Response(
    query_id="q",
    status="ok",
    text="Eine geheime Antwort",
    base_model="tiny",
    routing=Routing(),
    usage=Usage(7, 3),
    origin=ORIGIN,
)


class Asking:
    """A question in a trace, with what is counted of it."""

    def __init__(self) -> None:
        self.told = Told("gateway")
        self.registry = CollectorRegistry()
        self.trace = self.told.tracing.begin_request(SPAN, (), {}, 0.0)
        self.operation = Operation(QUERY, self.trace, GatewayMetrics(self.registry))

    def ended(self) -> tuple[StatusCode, dict[str, object]]:
        self.trace.end()
        span = self.told.span(SPAN)
        return span.status.status_code, attributes(span)

    def counted(self) -> dict[str, float]:
        """Operations by error type."""
        return {
            sample.labels["error_type"]: sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "gen_ai_client_operation_duration_seconds_count"
        }


@pytest.fixture
def asking() -> Asking:
    return Asking()


def failure(error: RequestError) -> Response:
    return Response(query_id="q", status="error", error=error.to_info(), origin=ORIGIN)


def test_an_answer_is_told_with_what_was_asked_and_without_a_word_of_it(asking: Asking) -> None:
    with asking.operation as operation:
        operation.begun(0.25)
        operation.answered(ANSWER, is_cut=True)
    status, told = asking.ended()
    assert status is StatusCode.UNSET
    assert told["gen_ai.request.model"] == "lorelay"
    assert told["gen_ai.response.model"] == "tiny"
    assert told["gen_ai.usage.output_tokens"] == 3
    assert told["gen_ai.response.time_to_first_chunk"] == 0.25
    assert told["lorelay.choice"] == "uncompared"
    assert told["messaging.message.id"] == "q"
    assert "error.type" not in told
    assert "geheime" not in str(told)
    assert asking.counted() == {"": 1}


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (Unanswered("No answer."), "deadline_exceeded", "unanswered"),
        (KafkaUnavailable("No broker."), "overloaded", "kafka_unavailable"),
    ],
)
def test_what_we_owe_is_a_failure(
    asking: Asking, error: RequestError, kind: str, code: str
) -> None:
    with asking.operation as operation:
        operation.failed(error.to_info(), is_cut=False)
    status, told = asking.ended()
    assert status is StatusCode.ERROR
    assert (told["error.type"], told["lorelay.error.code"]) == (kind, code)
    assert asking.counted() == {kind: 1}


def test_a_response_with_an_error_of_ours_is_a_failure(asking: Asking) -> None:
    with asking.operation as operation:
        operation.answered(failure(DeadlineExceeded("Too late.")), is_cut=False)
    status, told = asking.ended()
    assert (status, told["error.type"]) == (StatusCode.ERROR, "deadline_exceeded")
    assert asking.counted() == {"deadline_exceeded": 1}


@pytest.mark.parametrize(
    "error",
    [
        ErrorInfo("unknown_adapter", "unknown_adapter", "There is none.", False),
        ErrorInfo("cancelled", "cancelled", "The client says so.", False),
    ],
)
def test_what_the_client_is_told_by_4xx_is_its_own_and_no_failure(
    asking: Asking, error: ErrorInfo
) -> None:
    with asking.operation as operation:
        operation.failed(error, is_cut=False)
    status, told = asking.ended()
    assert status is StatusCode.UNSET
    assert "error.type" not in told
    assert told["lorelay.error.code"] == error.code
    assert asking.counted() == {error.category: 1}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ClientLeft("It has left."), "cancelled"),
        (ClientTooSlow("It does not read."), "cancelled"),
        (StreamBroken("Another answer."), "engine"),
        (Cancelled("The client says so."), "cancelled"),
    ],
)
def test_what_was_begun_and_is_not_whole_is_a_failure(
    asking: Asking, error: RequestError, kind: str
) -> None:
    with asking.operation as operation:
        operation.answered(ANSWER, is_cut=True)
        operation.failed(error.to_info(), is_cut=True)
    status, told = asking.ended()
    assert (status, told["error.type"]) == (StatusCode.ERROR, kind)
    assert asking.counted() == {kind: 1}


@pytest.mark.parametrize(
    ("error", "kind"),
    [(RuntimeError("a fault"), "internal"), (asyncio.CancelledError(), "cancelled")],
)
def test_a_fault_and_a_dropped_request_are_failures(
    asking: Asking, error: BaseException, kind: str
) -> None:
    with pytest.raises(type(error)), asking.operation:
        raise error
    status, told = asking.ended()
    assert (status, told["error.type"]) == (StatusCode.ERROR, kind)
    assert asking.counted() == {kind: 1}


def test_where_nothing_is_told_it_is_counted_all_the_same() -> None:
    registry = CollectorRegistry()
    with Operation(QUERY, UNTOLD, GatewayMetrics(registry)) as operation:
        operation.answered(ANSWER, is_cut=True)
    labels = {
        "gen_ai_operation_name": "text_completion",
        "gen_ai_provider_name": "lorelay",
        "gen_ai_request_model": "lorelay",
        "gen_ai_response_model": "tiny",
        "gen_ai_token_type": "output",
    }
    assert registry.get_sample_value("gen_ai_client_token_usage_sum", labels) == 3
