"""Traces are told where OpenTelemetry's variables say so, and nowhere else."""

import subprocess
import sys

import pytest

from schemas.errors import ConfigurationError
from streams.telemetry.tracing import NoTracing, open_tracing

TRACEPARENT = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": ""},
        OTLP | {"OTEL_TRACES_EXPORTER": "none"},
        OTLP | {"OTEL_SDK_DISABLED": "true"},
    ],
)
def test_nothing_is_told_unless_asked_for(variables: dict[str, str]) -> None:
    assert isinstance(open_tracing("router", "router-1", variables), NoTracing)


def test_a_trace_context_goes_on_untouched_where_nothing_is_told() -> None:
    trace = NoTracing().begin("queries", 0, 7, TRACEPARENT, 0.0)
    assert not trace.is_recorded
    assert trace.hand_on("requests", TRACEPARENT) is TRACEPARENT
    trace.step("route", 0.0)
    trace.end()


def test_a_requests_context_goes_on_untouched_too() -> None:
    tracing = NoTracing()
    assert not tracing.is_told
    trace = tracing.begin_request("POST /ask", TRACEPARENT, {}, 0.0)
    assert not trace.is_recorded
    with trace.sending("queries", TRACEPARENT) as headers:
        assert headers is TRACEPARENT


def test_the_sdk_is_not_even_imported_then() -> None:
    code = (
        "import sys; from streams.telemetry.tracing import open_tracing;"
        "open_tracing('router', 'router-1', {}); print('opentelemetry.sdk' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp or console"),
        (OTLP | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
def test_what_we_do_not_have_is_an_error(variables: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        open_tracing("router", "router-1", variables)
