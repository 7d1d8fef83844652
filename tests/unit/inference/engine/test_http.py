"""What the HTTP engine makes of a server's answers."""

import asyncio
import json
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import httpx
import pytest

from inference.engine.config import load_settings
from inference.engine.http import HttpEngine
from inference.engine.protocol import Completion, Delta, Generation, LoadedAdapter
from schemas.errors import (
    AdapterUnavailable,
    ConfigurationError,
    EngineError,
    EngineUnavailable,
    InvalidRequest,
    LorelayError,
    Overloaded,
    PromptTooLong,
)
from schemas.records import Sampling, Usage

ADAPTER = LoadedAdapter("legal-qa-v1@1.0.0", "/adapters/legal", 8)
MODELS = {"data": [{"id": "tiny", "owned_by": "vllm", "max_model_len": 128}]}
ANSWER = {
    "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}


class Server:
    """Answers by path and keeps the bodies it was sent."""

    def __init__(self, **answers: httpx.Response | Exception) -> None:
        self.answers: dict[str, httpx.Response | Exception] = {
            "models": httpx.Response(200, json=MODELS)
        } | answers
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if request.content:
            self.bodies.append(json.loads(request.content))
        name = request.url.path.removeprefix("/v1/").replace("/", "_")
        answer = self.answers.get(name, httpx.Response(404, json={"detail": "Not Found"}))
        if isinstance(answer, Exception):
            raise answer
        return answer


async def started(server: Callable[[httpx.Request], httpx.Response], **more: object) -> HttpEngine:
    engine = HttpEngine(load_settings(**more), httpx.MockTransport(server))
    await engine.start()
    return engine


async def collect(engine: HttpEngine, generation: Generation) -> list[Delta | Completion]:
    return [event async for event in engine.generate(generation)]


def events(*contents: dict[str, Any]) -> httpx.Response:
    lines = [f"data: {json.dumps(content)}\n\n" for content in contents]
    return httpx.Response(200, text="".join([": comment\n\n", *lines, "data: [DONE]\n\n"]))


async def test_a_whole_answer_becomes_a_completion() -> None:
    server = Server(chat_completions=httpx.Response(200, json=ANSWER))
    engine = await started(server)
    sampling = Sampling(max_tokens=7, temperature=0.0, seed=1, stop=("x",))
    (completion,) = await collect(engine, Generation("a", "Really?", sampling=sampling))
    assert isinstance(completion, Completion)
    assert (completion.text, completion.finish_reason) == ("Yes.", "stop")
    assert completion.usage == Usage(5, 2)
    assert completion.engine_queue_ms is completion.first_token_ms is None
    assert server.bodies == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "Really?"}],
            "max_tokens": 7,
            "temperature": 0.0,
            "seed": 1,
            "stop": ["x"],
        }
    ]


async def test_the_servers_own_times_are_taken_where_it_sends_them() -> None:
    metrics = {"queue_time_ms": 1.0, "time_to_first_token_ms": 20.0, "generation_time_ms": 300.0}
    answer = httpx.Response(200, json=ANSWER | {"metrics": metrics})
    engine = await started(Server(chat_completions=answer))
    (completion,) = await collect(engine, Generation("a", "Really?"))
    assert isinstance(completion, Completion)
    times = (completion.engine_queue_ms, completion.first_token_ms, completion.inference_ms)
    assert times == (1.0, 21.0, 320.0)


async def test_a_stream_becomes_deltas_and_a_completion() -> None:
    def piece(content: str, reason: str | None = None) -> dict[str, Any]:
        return {"choices": [{"delta": {"content": content}, "finish_reason": reason}]}

    stream = events(
        piece(""), piece("Ye"), piece("s."), piece("", "length"), {**ANSWER, "choices": []}
    )
    engine = await started(Server(chat_completions=stream))
    *deltas, completion = await collect(engine, Generation("a", "Really?", stream=True))
    assert [delta.text for delta in deltas] == ["Ye", "s."]
    assert isinstance(completion, Completion)
    assert (completion.text, completion.finish_reason) == ("Yes.", "length")
    assert completion.usage == Usage(5, 2)


async def test_an_adapter_is_asked_for_by_its_key_and_its_template_is_filled_here() -> None:
    answer = {"choices": [{"text": "Yes.", "finish_reason": "stop"}]}
    server = Server(
        completions=httpx.Response(200, json=answer), load_lora_adapter=httpx.Response(200)
    )
    engine = await started(server)
    await engine.load(ADAPTER)
    templated = LoadedAdapter(ADAPTER.key, ADAPTER.path, 8, "Q: {prompt}\nA:")
    (completion,) = await collect(engine, Generation("a", "Why?", adapter=templated))
    assert isinstance(completion, Completion)
    assert completion.text == "Yes."
    load, body = server.bodies
    assert load == {"lora_name": ADAPTER.key, "lora_path": ADAPTER.path}
    assert body == {"model": ADAPTER.key, "prompt": "Q: Why?\nA:", "max_tokens": None}


async def test_an_adapter_that_the_server_serves_already_is_not_loaded() -> None:
    models = {"data": [*MODELS["data"], {"id": ADAPTER.key}]}
    server = Server(models=httpx.Response(200, json=models))
    engine = await started(server)
    await engine.load(ADAPTER)
    assert "/v1/load_lora_adapter" not in server.paths


async def test_a_server_that_loads_nothing_at_run_time_makes_adapters_unavailable() -> None:
    engine = await started(Server())
    with pytest.raises(AdapterUnavailable, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        await engine.load(ADAPTER)


async def test_an_adapter_that_a_restarted_server_has_lost_is_loaded_again() -> None:
    server = Server(load_lora_adapter=httpx.Response(200))
    engine = await started(server)
    await engine.load(ADAPTER)
    with pytest.raises(AdapterUnavailable, match="loaded it again"):
        await collect(engine, Generation("a", "Why?", adapter=ADAPTER))
    assert server.paths.count("/v1/load_lora_adapter") == 2


def refusal(status: int, message: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message}})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(400), InvalidRequest),
        (refusal(400, "This model's maximum context length is 128 tokens."), PromptTooLong),
        (refusal(422), InvalidRequest),
        (refusal(404), EngineError),
        (refusal(401), EngineUnavailable),
        (refusal(429), Overloaded),
        (refusal(503), Overloaded),
        (refusal(500), EngineError),
        (httpx.Response(502, text="<html>Bad gateway</html>"), EngineError),
        (httpx.Response(200, text="<html>Hello</html>"), EngineError),
        (httpx.Response(200, json={"choices": [{}]}), EngineError),
        (httpx.Response(200, json={"choices": [{"finish_reason": "abort"}]}), EngineError),
        (httpx.Response(200, json=[]), EngineError),
        (httpx.ConnectError("refused"), EngineUnavailable),
        (httpx.ReadError("reset"), EngineError),
        (httpx.ReadTimeout("slow"), EngineError),
    ],
    ids=repr,
)
async def test_failures_are_told_apart(
    answer: httpx.Response | Exception, error: type[LorelayError]
) -> None:
    engine = await started(Server(chat_completions=answer))
    with pytest.raises(LorelayError) as raised:
        await collect(engine, Generation("a", "Why?"))
    assert type(raised.value) is error or isinstance(raised.value, error)
    assert str(raised.value)


@pytest.mark.parametrize(
    "contents",
    [
        ({"error": {"message": "out of memory"}},),
        ({"choices": [{"delta": {"content": "Ye"}, "finish_reason": None}]},),
        ({"choices": "?"},),
    ],
    ids=["error", "broken off", "shapeless"],
)
async def test_a_stream_that_fails_in_the_middle_is_an_engine_error(
    contents: tuple[dict[str, Any], ...],
) -> None:
    engine = await started(Server(chat_completions=events(*contents)))
    with pytest.raises(EngineError):
        await collect(engine, Generation("a", "Why?", stream=True))


class ClosingServer:
    """Answers the first request of each connection, and ends the connection at the second.

    ``reset``: the client learns that what it had sent is lost, else only that the connection
    ended. Once ``answers`` are used up, connections end at their first request.
    """

    def __init__(self, *answers: httpx.Response, reset: bool) -> None:
        self._answers = [answer.content for answer in answers]
        self._reset = reset
        self.requests = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The server's URL, while the block lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield "http://{}:{}".format(*server.sockets[0].getsockname())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await self._read(reader)
            if self._answers:
                body = self._answers.pop(0)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await self._read(reader)
        if self._reset:
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, at_once)
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        if length := re.search(rb"content-length: (\d+)", head.lower()):
            await reader.readexactly(int(length[1]))


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_request_that_meets_a_closing_connection_is_sent_once_more(
    stream: bool, reset: bool
) -> None:
    piece = {"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}
    answer = events(piece) if stream else httpx.Response(200, json=ANSWER)
    server = ClosingServer(httpx.Response(200, json=MODELS), answer, reset=reset)
    async with server.serving() as url:
        engine = HttpEngine(load_settings(http_url=url))
        await engine.start()
        *_, completion = await collect(engine, Generation("a", "Why?", stream=stream))
        assert isinstance(completion, Completion)
        assert completion.text == "Yes."
        assert server.requests == 3
        with pytest.raises(EngineError, match="connection failed"):
            await collect(engine, Generation("b", "Why?", stream=stream))
        assert server.requests == 5
        await engine.stop()


async def test_a_server_that_dies_of_a_request_has_failed_on_it() -> None:
    """Not "can't be reached", after which it would be sent again without being counted."""
    calls = iter([httpx.ReadError("reset"), httpx.ConnectError("refused")])

    def dying(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json=MODELS)
        raise next(calls)

    engine = await started(dying)
    with pytest.raises(EngineError, match="connection failed") as raised:
        await collect(engine, Generation("a", "Why?"))
    assert not isinstance(raised.value, EngineUnavailable)
    assert next(calls, None) is None


async def test_the_completions_endpoint_takes_the_text_as_it_is() -> None:
    server = Server(completions=httpx.Response(200, json=ANSWER))
    engine = await started(server, http_endpoint="completions")
    await collect(engine, Generation("a", "Why?"))
    assert server.bodies == [{"model": "tiny", "prompt": "Why?\n", "max_tokens": None}]


async def test_the_key_is_sent_as_bearer_token_and_priorities_only_if_wanted() -> None:
    seen: list[httpx.Request] = []
    server = Server(chat_completions=httpx.Response(200, json=ANSWER))

    def recording(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return server(request)

    engine = await started(recording, http_api_key="secret", http_priority=True)
    await collect(engine, Generation("a", "Why?", priority=7))
    assert {request.headers["Authorization"] for request in seen} == {"Bearer secret"}
    assert server.bodies[0]["priority"] == 5


async def test_a_server_that_serves_another_model_is_a_mistake_of_the_user() -> None:
    with pytest.raises(ConfigurationError, match="serves tiny, not llama"):
        await started(Server(), model="llama")


async def test_an_unreachable_server_is_neither_startable_nor_healthy() -> None:
    server = Server()
    engine = await started(server)
    assert await engine.healthy()
    server.answers["models"] = httpx.ConnectError("refused")
    assert not await engine.healthy()
    with pytest.raises(EngineUnavailable):
        await started(server)


METRICS = """# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{engine="0",model_name="tiny"} 1.5e+03
vllm:generation_tokens_total{engine="0",model_name="tiny"} 20.0
vllm:generation_tokens_total{engine="1",model_name="tiny"} 4.0
vllm:request_generation_tokens_sum{engine="0"} 99.0
"""


async def test_the_progress_of_a_vllm_server_is_its_own_count_of_tokens() -> None:
    server = Server(_metrics=httpx.Response(200, text=METRICS))
    assert await (await started(server)).progress() == 1524


@pytest.mark.parametrize(
    "metrics",
    [
        httpx.Response(404),
        httpx.Response(200, text="up 1\n"),
        httpx.ConnectError("refused"),
    ],
    ids=["none", "of another kind", "unreachable"],
)
async def test_a_server_that_does_not_count_has_no_progress(
    metrics: httpx.Response | Exception,
) -> None:
    assert await (await started(Server(_metrics=metrics))).progress() is None


async def test_another_make_of_server_is_not_asked_for_its_progress() -> None:
    models = httpx.Response(200, json={"data": [{"id": "tiny", "owned_by": "somebody"}]})
    server = Server(models=models)
    assert await (await started(server)).progress() is None
    assert server.paths == ["/v1/models"]


async def test_a_key_may_be_any_text() -> None:
    keys = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(dict(request.headers.raw)[b"Authorization"].decode())
        return httpx.Response(200, json=MODELS)

    engine = HttpEngine(load_settings(http_api_key="schlüssel"), httpx.MockTransport(answer))
    await engine.start()
    await engine.stop()
    assert keys == ["Bearer schlüssel"]
