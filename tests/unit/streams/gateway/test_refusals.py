"""Requests that are refused before a query is sent, through the application's own handlers."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from schemas.errors import Overloaded
from streams.gateway.limits import BodyLimit
from streams.gateway.measuring import Measured
from streams.gateway.openai.requests import AskedChat, AskedCompletion
from streams.gateway.refusals import add_refusals
from streams.telemetry.gateway import GatewayMetrics

MOST = 2000
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def metrics() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def client(metrics: CollectorRegistry) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    @app.post("/chat")
    async def chat(asked: AskedChat) -> str:
        return asked.messages[0].content

    @app.post("/complete")
    async def complete(asked: AskedCompletion) -> str:
        return asked.prompt

    @app.post("/full")
    async def full() -> None:
        raise Overloaded("There is no room.")

    @app.post("/broken")
    async def broken() -> None:
        raise RuntimeError("a secret")

    add_refusals(app, MOST)
    app.add_middleware(BodyLimit, most=MOST)
    app.add_middleware(Measured, metrics=GatewayMetrics(metrics))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def refused(answer: httpx.Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, str] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"n": True}, "n", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"presence_penalty": 0.5}, "presence_penalty", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"top_k": 5}, "top_k", "unknown_parameter"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"stop": [""]}, "stop[0]", "invalid_value"),
        ({"priority": 10}, "priority", "invalid_value"),
        ({"id": "two words"}, "id", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "unsupported_parameter",
        ),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_value"),
    ],
)
async def test_a_wrong_parameter_is_named(
    client: httpx.AsyncClient, change: dict[str, object], param: str, code: str
) -> None:
    error = await refused(await client.post("/chat", json=HELLO | change), 400)
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert param in error["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}},
        {"logprobs": False, "top_logprobs": None, "tools": [], "tool_choice": "none"},
        {"response_format": {"type": "text"}, "modalities": ["text"]},
        {"store": True, "metadata": {"a": "b"}, "service_tier": "auto", "user": "u-1"},
        {"temperature": 0, "top_p": 1, "max_completion_tokens": 5, "seed": -1, "stop": "x"},
    ],
)
async def test_what_changes_nothing_is_accepted(
    client: httpx.AsyncClient, change: dict[str, object]
) -> None:
    assert (await client.post("/chat", json=HELLO | change)).status_code == 200


async def test_what_changes_no_completion_is_accepted(client: httpx.AsyncClient) -> None:
    neutral = {"n": 1, "best_of": 1, "echo": False, "logprobs": False, "suffix": ""}
    assert (await client.post("/complete", json={"prompt": "x"} | neutral)).status_code == 200
    error = await refused(await client.post("/complete", json={"prompt": "x", "logprobs": 0}), 400)
    assert (error["param"], error["code"]) == ("logprobs", "unsupported_parameter")


async def test_parts_of_text_are_joined(client: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "you"}]
    answer = await client.post("/chat", json={"messages": [{"role": "user", "content": parts}]})
    assert answer.json() == "Hello\nyou"


@pytest.mark.parametrize("prompt", [["one", "two"], [1, 2, 3], [], 5])
async def test_a_prompt_is_one_text(client: httpx.AsyncClient, prompt: object) -> None:
    error = await refused(await client.post("/complete", json={"prompt": prompt}), 400)
    assert error["param"] == "prompt"
    answer = await client.post("/complete", json={"prompt": ["one"]})
    assert answer.json() == "one"


async def test_a_name_that_is_no_text_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    many = b"".join(b', "a%d": 1' % number for number in range(100))
    for body in (b'{"\\ud800": 1}', b'{"prompt": "x", "\\ud800": 1}', b'{"\\ud800": 1%b}' % many):
        await refused(await client.post("/complete", content=body, headers=headers), 400)


async def test_a_missing_parameter_is_named(client: httpx.AsyncClient) -> None:
    error = await refused(await client.post("/complete", json={}), 400)
    assert (error["param"], error["code"]) == ("prompt", "missing_required_parameter")


@pytest.mark.parametrize("body", [b"", b"{", b'{"prompt": ', b"[]", b"\xff\xfe", b"[" * 1900])
async def test_what_is_no_json_object_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    await refused(await client.post("/complete", content=body, headers=headers), 400)


async def test_a_body_that_says_it_is_too_large_is_not_read(client: httpx.AsyncClient) -> None:
    error = await refused(await client.post("/complete", json={"prompt": "x" * MOST}), 413)
    assert error["code"] == "body_too_large"


async def test_a_body_that_turns_out_too_large_is_read_no_further(
    client: httpx.AsyncClient,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b" " * (MOST // 4)

    await refused(await client.post("/complete", content=pieces()), 413)


async def test_an_address_or_method_that_is_not_there_is_told_in_the_same_shape(
    client: httpx.AsyncClient,
) -> None:
    assert (await refused(await client.get("/v1/images"), 404))["code"] == "unknown_url"
    assert "GET /chat" in (await refused(await client.get("/chat"), 405))["message"]


async def test_what_may_pass_says_when_to_try_again(client: httpx.AsyncClient) -> None:
    answer = await client.post("/full")
    assert (await refused(answer, 503))["type"] == "server_error"
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-should-retry"] == "true"


async def test_a_fault_tells_nothing_of_itself(client: httpx.AsyncClient) -> None:
    answer = await client.post("/broken")
    assert "secret" not in answer.text
    await refused(answer, 500)


async def test_requests_are_counted_by_route_and_status(
    client: httpx.AsyncClient, metrics: CollectorRegistry
) -> None:
    await client.post("/chat", json=HELLO)
    await client.post("/chat", json={})
    await client.get("/nowhere/at/all")

    def count(route: str, status: int) -> float | None:
        labels = {"route": route, "status": str(status)}
        return metrics.get_sample_value("lorelay_gateway_requests_total", labels)

    assert (count("/chat", 200), count("/chat", 400), count("unmatched", 404)) == (1, 1, 1)
