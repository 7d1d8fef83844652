"""One record's way becomes spans that hang together."""

from time import perf_counter

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from schemas.errors import Overloaded
from tests.unit.streams.telemetry.told import Told, attributes, own, parent

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = [
    ("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01".encode()),
    ("tracestate", b"theirs=1"),
    ("mine", None),
]


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_record_continues_its_senders_trace_and_its_steps_are_below_it(told: Told) -> None:
    began = perf_counter()
    trace = told.tracing.begin("queries", 3, 41, HEADERS, began)
    trace.step("receive", began, began + 0.25, {"size": 3})
    trace.end()
    record, step = told.span("process queries"), told.span("receive")
    assert f"{record.context.trace_id:032x}" == TRACE_ID  # type: ignore[union-attr]
    assert f"{parent(record):016x}" == PARENT_ID
    assert parent(step) == own(record)
    assert record.kind is SpanKind.CONSUMER
    assert record.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "queries",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 41,
    }
    assert (step.end_time or 0) - (step.start_time or 0) == pytest.approx(0.25e9, rel=0.5)
    assert step.attributes == {"size": 3}


def test_what_it_becomes_carries_the_sending_spans_context(told: Told) -> None:
    trace = told.tracing.begin("queries", 0, 0, HEADERS, perf_counter())
    sent = dict(trace.hand_on("requests", HEADERS))
    assert told.names == []  # not before it is committed
    trace.end()
    sending = told.span("send requests")
    assert sent["traceparent"] == f"00-{TRACE_ID}-{own(sending):016x}-01".encode()
    assert sent["tracestate"] == b"theirs=1"
    assert sent["mine"] is None
    assert sending.kind is SpanKind.PRODUCER
    assert parent(sending) == own(told.span("process queries"))


def test_a_second_try_to_send_it_is_the_same_sending(told: Told) -> None:
    trace = told.tracing.begin("queries", 0, 0, (), perf_counter())
    assert trace.hand_on("responses", ()) == trace.hand_on("responses", ())
    trace.end()
    assert told.names == ["send responses", "process queries"]


@pytest.mark.parametrize("value", [b"", b"nonsense", b"\xff\xfe", None, b"00-0-0-01"])
def test_a_broken_context_begins_a_new_trace(told: Told, value: bytes | None) -> None:
    trace = told.tracing.begin("queries", 0, 0, [("traceparent", value)], perf_counter())
    trace.end()
    assert told.span("process queries").parent is None


def test_a_sender_that_is_not_sampled_is_not_told_and_handed_on_as_such(told: Told) -> None:
    unsampled = [("traceparent", f"00-{TRACE_ID}-{PARENT_ID}-00".encode())]
    trace = told.tracing.begin("queries", 0, 0, unsampled, perf_counter())
    trace.step("receive", perf_counter())
    sent = dict(trace.hand_on("requests", unsampled))
    trace.end()
    assert told.names == []
    context = sent["traceparent"]
    assert context is not None and TRACE_ID.encode() in context and context.endswith(b"-00")


def test_a_failure_is_a_spans_error(told: Told) -> None:
    trace = told.tracing.begin("requests", 0, 0, (), perf_counter())
    trace.fail("deadline_exceeded")
    trace.end()
    record = told.span("process requests")
    assert record.status.status_code is StatusCode.ERROR
    assert record.attributes is not None
    assert record.attributes["error.type"] == "deadline_exceeded"


def test_a_request_continues_its_clients_trace_and_what_it_sends_is_below_it(told: Told) -> None:
    trace = told.tracing.begin_request("POST /ask", HEADERS, {"size": 3}, perf_counter())
    with trace.sending("queries", HEADERS) as headers:
        sent = dict(headers)
        assert told.names == []  # not before it is written
    assert told.names == ["send queries"]
    trace.end()
    request, sending = told.span("POST /ask"), told.span("send queries")
    assert f"{request.context.trace_id:032x}" == TRACE_ID  # type: ignore[union-attr]
    assert f"{parent(request):016x}" == PARENT_ID
    assert (request.kind, sending.kind) == (SpanKind.SERVER, SpanKind.PRODUCER)
    assert attributes(request) == {"size": 3}
    assert parent(sending) == own(request)
    assert sent["traceparent"] == f"00-{TRACE_ID}-{own(sending):016x}-01".encode()
    assert sent["tracestate"] == b"theirs=1"


@pytest.mark.parametrize(
    ("error", "kind"), [(Overloaded("no"), "overloaded"), (KeyboardInterrupt(), "interrupted")]
)
def test_what_could_not_be_written_is_the_sendings_error_and_not_yet_the_requests(
    told: Told, error: BaseException, kind: str
) -> None:
    trace = told.tracing.begin_request("POST /ask", (), {}, perf_counter())
    with pytest.raises(type(error)), trace.sending("queries", ()):
        raise error
    trace.end()
    sending = told.span("send queries")
    assert sending.status.status_code is StatusCode.ERROR
    assert attributes(sending)["error.type"] == kind
    assert told.span("POST /ask").status.status_code is StatusCode.UNSET


def test_the_service_is_named_by_its_process_unless_variables_name_it(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = told.tracing.begin("queries", 0, 0, (), perf_counter())
    trace.end()
    resource = told.span("process queries").resource.attributes
    assert (resource["service.name"], resource["service.instance.id"]) == (
        "lorelay-router",
        "router-1",
    )
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    named = Told()
    trace = named.tracing.begin("queries", 0, 0, (), perf_counter())
    trace.end()
    assert named.span("process queries").resource.attributes["service.name"] == "mine"
