"""A request that asks a model is a span, in the words of OpenTelemetry's HTTP conventions."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from opentelemetry.trace import SpanKind, StatusCode
from starlette.datastructures import Headers

from schemas.errors import InvalidRequest, Overloaded
from streams.gateway.refusals import add_refusals
from streams.gateway.tracing import Traced, trace_headers, trace_of
from streams.telemetry.tracing import UNTOLD
from tests.unit.streams.telemetry.told import Told, attributes, parent

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "tracestate": "theirs=1"}


@pytest.fixture
def told() -> Told:
    return Told("gateway")


@pytest.fixture
async def client(told: Told) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    @app.post("/ask")
    async def ask(request: Request) -> bool:
        return trace_of(request) is not UNTOLD

    @app.get("/ask")
    @app.post("/other")
    async def other(request: Request) -> bool:
        return trace_of(request) is not UNTOLD

    @app.post("/wrong")
    async def wrong() -> None:
        raise InvalidRequest("That can't be asked.")

    @app.post("/full")
    async def full() -> None:
        raise Overloaded("There is no room.")

    @app.post("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret")

    add_refusals(app, 2000)
    app.add_middleware(
        Traced, tracing=told.tracing, paths={"/ask", "/wrong", "/full", "/broken", "/dropped"}
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway:8080") as client:
        yield client


async def test_a_request_is_a_span_below_its_clients(client: httpx.AsyncClient, told: Told) -> None:
    answer = await client.post("/ask?question=geheim", json={"q": "geheim"}, headers=CLIENT)
    assert answer.json() is True
    span = told.span("POST /ask")
    assert f"{span.context.trace_id:032x}" == TRACE_ID  # type: ignore[union-attr]
    assert f"{parent(span):016x}" == PARENT_ID
    assert span.kind is SpanKind.SERVER
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "http.request.method": "POST",
        "http.route": "/ask",
        "http.response.status_code": 200,
        "url.path": "/ask",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "gateway",
        "server.port": 8080,
    }


@pytest.mark.parametrize("header", [{}, {"traceparent": "nonsense"}])
async def test_without_a_valid_context_it_begins_a_trace(
    client: httpx.AsyncClient, told: Told, header: dict[str, str]
) -> None:
    await client.post("/ask", headers=header)
    assert told.span("POST /ask").parent is None


async def test_what_asks_no_model_is_not_told(client: httpx.AsyncClient, told: Told) -> None:
    assert (await client.get("/ask")).json() is False
    assert (await client.post("/other")).json() is False
    assert (await client.post("/nowhere")).status_code == 404
    assert told.names == []


@pytest.mark.parametrize(
    ("path", "http_status", "status", "kind", "code"),
    [
        ("/wrong", 400, StatusCode.UNSET, None, "invalid_request"),
        ("/full", 503, StatusCode.ERROR, "503", "overloaded"),
        ("/broken", 500, StatusCode.ERROR, "internal", None),
    ],
)
async def test_a_span_fails_with_a_server_error_and_not_with_a_clients(
    client: httpx.AsyncClient,
    told: Told,
    path: str,
    http_status: int,
    status: StatusCode,
    kind: str | None,
    code: str | None,
) -> None:
    assert (await client.post(path)).status_code == http_status
    span = told.span(f"POST {path}")
    assert span.status.status_code is status
    assert attributes(span)["http.response.status_code"] == http_status
    assert attributes(span).get("error.type") == kind
    assert attributes(span).get("lorelay.error.code") == code
    assert "secret" not in str(span.events)


async def test_a_dropped_request_is_a_failed_span_without_a_status(told: Told) -> None:
    async def dropped(*_: object) -> None:
        raise asyncio.CancelledError

    app = Traced(dropped, told.tracing, {"/dropped"})
    scope = {
        **{"type": "http", "method": "POST", "path": "/dropped", "scheme": "http"},
        **{"http_version": "1.1", "headers": []},
    }

    async def nothing(*_: object) -> None: ...

    with pytest.raises(asyncio.CancelledError):
        await app(scope, nothing, nothing)  # type: ignore[arg-type]
    span = told.span("POST /dropped")
    assert attributes(span)["error.type"] == "cancelled"
    assert "http.response.status_code" not in attributes(span)


def test_headers_that_came_twice_are_read_as_one_list() -> None:
    raw = [(b"tracestate", b"a=1"), (b"tracestate", b"b=2"), (b"traceparent", b"x"), (b"y", b"z")]
    assert trace_headers(Headers(raw=raw)) == [("traceparent", b"x"), ("tracestate", b"a=1,b=2")]
    assert trace_headers(Headers({})) == []
