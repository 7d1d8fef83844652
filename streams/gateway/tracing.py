"""One span for every request that asks a model, in the words of OpenTelemetry's HTTP conventions.

Neither the query string nor a body is told. A span's status goes by its HTTP status: what a client
got wrong (4xx) is no failure of ours.
"""

import asyncio
from collections.abc import Collection
from time import perf_counter
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.gateway.sender import Header
from streams.kafka.output import TRACEPARENT, TRACESTATE
from streams.telemetry.attributes import known
from streams.telemetry.tracing import UNTOLD, Attribute, Trace, Tracing

_STATUS: Final = "http.response.status_code"


def trace_headers(headers: Headers) -> list[Header]:
    """What a client's headers say of its trace; one that came twice is a list of both."""
    values = {name: ",".join(headers.getlist(name)) for name in (TRACEPARENT, TRACESTATE)}
    return [(name, value.encode()) for name, value in values.items() if value]


def trace_of(request: Request) -> Trace:
    """The request's trace; what is said to it is lost where none is told."""
    trace: Trace = getattr(request.state, "trace", UNTOLD)
    return trace


class Traced:
    """An ASGI middleware: the span of a POST to one of the paths, which are routes of their own."""

    def __init__(self, app: ASGIApp, tracing: Tracing, paths: Collection[str]) -> None:
        self._app = app
        self._tracing = tracing
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends the span when the last byte is written, or nobody wants it any more."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        trace = self._tracing.begin_request(
            f"POST {scope['path']}",
            trace_headers(Headers(scope=scope)),
            request_attributes(scope),
            perf_counter(),
        )
        scope.setdefault("state", {})["trace"] = trace

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                _note(trace, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            # It is answered outside of this, and of everything else.
            _note(trace, 500)
            trace.fail("internal")
            raise
        except asyncio.CancelledError:
            trace.fail("cancelled")
            raise
        finally:
            trace.end()


def request_attributes(scope: Scope) -> dict[str, Attribute]:
    """What the conventions have a span say of a request before it is answered."""
    host, port = scope.get("server") or (None, None)
    return known(
        {
            "http.request.method": scope["method"],
            "http.route": scope["path"],
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
            "server.address": host,
            "server.port": port,
        }
    )


def _note(trace: Trace, status: int) -> None:
    trace.describe({_STATUS: status})
    if status >= 500:
        # Who knows more says so later.
        trace.fail(str(status))
