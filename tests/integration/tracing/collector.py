"""A collector of traces in the test's own process: OTLP over HTTP, kept in memory."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it was sent; ids in hex, times in nanoseconds since 1970."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: Mapping[str, Any]
    is_error: bool


class Collector:
    """Everything that was sent so far."""

    def __init__(self, endpoint: str, spans: list[Span]) -> None:
        self.endpoint = endpoint
        self._spans = spans

    def trace(self, trace_id: str) -> list[Span]:
        return sorted(
            (span for span in [*self._spans] if span.trace_id == trace_id), key=lambda s: s.start
        )

    def spans(self, trace_id: str, names: Collection[str]) -> dict[str, Span]:
        """The spans of a trace by name, once these are all there."""
        deadline = time.monotonic() + _SECONDS
        while True:
            found = {span.name: span for span in self.trace(trace_id)}
            if missing := set(names) - set(found):
                assert time.monotonic() < deadline, f"never came: {sorted(missing)}"
                time.sleep(0.05)
            else:
                return found


@contextmanager
def running_collector() -> Iterator[Collector]:
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *values: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Collector(f"http://127.0.0.1:{server.server_port}", spans)
        finally:
            server.shutdown()
            thread.join()


def _spans(request: Any) -> Iterator[Span]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    service,
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _attributes(span.attributes),
                    span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
