"""Traces as OpenTelemetry spans.

Names and attributes of semantic conventions 1.44.0: messaging spans for Kafka, HTTP, generative AI.
A record has one CONSUMER span, `process TOPIC`, whose parent is the span that sent it; its steps
are below it, and last the PRODUCER span `send TOPIC`, from handing on until the commit. A request
has one SERVER span, whose parent is the client's.
"""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.environment_variables import OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from schemas.errors import LorelayError
from streams.telemetry.tracing import Attributes, Headers, Trace

_CONVENTIONS: Final = "https://opentelemetry.io/schemas/1.44.0"
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_CLOSING_SECONDS: Final = 5.0


class RecordedTrace:
    """One record's or request's way as spans."""

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        #: Not where the sender, or our own sampler, has decided against it.
        self.is_recorded = span.is_recording()
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span, Context())
        self._sending: Span | None = None

    def describe(self, attributes: Attributes) -> None:
        """Attributes of its own span."""
        self._span.set_attributes(attributes)

    def step(
        self,
        name: str,
        since: float,
        until: float | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        """A span below the record's."""
        span = self._tracer.start_span(
            name, self._context, attributes=attributes, start_time=_epoch_ns(since)
        )
        span.end(None if until is None else _epoch_ns(until))

    def hand_on(self, topic: str, headers: Headers) -> Headers:
        """The headers with the sending span's context in the place of the received one."""
        if self._sending is None:
            self._sending = self._start_sending(topic)
        return _handed_on(headers, self._sending)

    @contextmanager
    def sending(self, topic: str, headers: Headers) -> Iterator[Headers]:
        """The same with a span that ends with the block."""
        span = self._start_sending(topic)
        try:
            yield _handed_on(headers, span)
        except BaseException as error:
            _fail(span, error.category if isinstance(error, LorelayError) else "interrupted")
            raise
        finally:
            span.end()

    def fail(self, kind: str) -> None:
        """Its own span ends as an error; of several kinds the last counts."""
        _fail(self._span, kind)

    def end(self) -> None:
        """Ends the spans that are open."""
        if self._sending is not None:
            self._sending.end()
        self._span.end()

    def _start_sending(self, topic: str) -> Span:
        return self._tracer.start_span(
            f"send {topic}",
            self._context,
            SpanKind.PRODUCER,
            {
                "messaging.system": "kafka",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": topic,
            },
        )


class SpanTracing:
    """Spans of one process, for whatever processor they are given to."""

    is_told = True

    def __init__(self, process: str, name: str, processor: SpanProcessor) -> None:
        # A provider of our own: the engine's library may have set up the global one.
        self._provider = TracerProvider(resource=_resource(process, name), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("lorelay", version("lorelay"), _CONVENTIONS)
        self._group = f"lorelay-{process}"

    @classmethod
    def exporting(cls, exporter: str, process: str, name: str) -> Self:
        """To a collector ("otlp") or to standard output ("console"), in the background."""
        return cls(process, name, BatchSpanProcessor(_exporter(exporter)))

    def begin(
        self, topic: str, partition: int, offset: int, headers: Headers, since: float
    ) -> Trace:
        """The record's span, below the one that sent it."""
        span = self._tracer.start_span(
            f"process {topic}",
            _context(headers),
            SpanKind.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": topic,
                "messaging.destination.partition.id": str(partition),
                "messaging.kafka.offset": offset,
            },
            start_time=_epoch_ns(since),
        )
        return RecordedTrace(self._tracer, span)

    def begin_request(
        self, name: str, headers: Headers, attributes: Attributes, since: float
    ) -> Trace:
        """The request's span, below the client's if there is one."""
        span = self._tracer.start_span(
            name, _context(headers), SpanKind.SERVER, attributes, start_time=_epoch_ns(since)
        )
        return RecordedTrace(self._tracer, span)

    def close(self) -> None:
        """Exports what is left, for five seconds at most."""
        # The SDK's own limit does not hold for a collector that is away or hangs.
        flushing = threading.Thread(target=self._provider.force_flush, daemon=True)
        flushing.start()
        flushing.join(_CLOSING_SECONDS)


def _context(headers: Headers) -> Context:
    """Whose span it is below."""
    carrier = {name: (value or b"").decode(errors="replace") for name, value in headers}
    return _PROPAGATOR.extract(carrier, Context())


def _handed_on(headers: Headers, span: Span) -> Headers:
    """The headers with the span's context in the place of the received one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    others = [(name, value) for name, value in headers if name not in _PROPAGATOR.fields]
    return [*others, *((name, value.encode()) for name, value in carrier.items())]


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    # It warns of every batch that it sends again; what fails for good is told louder.
    logging.getLogger(trace_exporter.__name__).setLevel(logging.ERROR)
    return trace_exporter.OTLPSpanExporter()


def _resource(process: str, name: str) -> Resource:
    """What the variables say of the service comes before what we know of it."""
    ours = {"service.name": f"lorelay-{process}", "service.instance.id": name}
    theirs = os.environ.get(OTEL_RESOURCE_ATTRIBUTES, "")
    if os.environ.get(OTEL_SERVICE_NAME) or "service.name=" in theirs:
        del ours["service.name"]
    return Resource.create(ours)


def _epoch_ns(at: float) -> int:
    """``time.perf_counter``'s seconds as nanoseconds since 1970."""
    return time.time_ns() - round((time.perf_counter() - at) * 1e9)
