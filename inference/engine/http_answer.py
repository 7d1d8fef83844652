"""What an OpenAI-compatible server answers, whole or as a stream of events."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from time import monotonic
from typing import Any

import httpx

from inference.engine.http_errors import error_text, refuse, shape_errors
from inference.engine.protocol import Completion
from schemas.errors import EngineError
from schemas.records import Usage


class Answer:
    """What the server has sent of an answer so far."""

    def __init__(self, sent: float) -> None:
        self._sent = sent
        self._first: float | None = None
        self._texts: list[str] = []
        self._finish_reason: str | None = None
        self._usage = Usage()
        self._metrics: Mapping[str, float | None] = {}

    def add(self, event: Mapping[str, Any]) -> str:
        """The text in a response or in an event of its stream."""
        with shape_errors():
            return self._add(event)

    def _add(self, event: Mapping[str, Any]) -> str:
        if usage := event.get("usage"):
            self._usage = Usage(usage["prompt_tokens"], usage.get("completion_tokens") or 0)
        self._metrics = event.get("metrics") or self._metrics
        if not event.get("choices"):
            return ""
        choice = event["choices"][0]
        part = choice.get("message") or choice.get("delta") or choice
        text: str = part.get("content") or part.get("text") or ""
        if text and self._first is None:
            self._first = monotonic()
        self._texts.append(text)
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return text

    def completion(self, ended: float, *, timed: bool) -> Completion:
        """The whole; EngineError if the server broke off."""
        if self._finish_reason is None or self._finish_reason in ("abort", "error"):
            raise EngineError("The server broke off its answer.")
        return Completion(
            "".join(self._texts), self._finish_reason, self._usage, **self._times(ended, timed)
        )

    def _times(self, ended: float, timed: bool) -> dict[str, float | None]:
        queue, first, rest = (
            self._metrics.get(name)
            for name in ("queue_time_ms", "time_to_first_token_ms", "generation_time_ms")
        )
        if queue is not None and first is not None and rest is not None:
            # vLLM counts time_to_first_token_ms from the place in a batch on.
            return {
                "engine_queue_ms": queue,
                "first_token_ms": queue + first,
                "inference_ms": first + rest,
            }
        seen = self._first if timed else None
        return {
            "first_token_ms": None if seen is None else (seen - self._sent) * 1000,
            "inference_ms": (ended - self._sent) * 1000,
        }


async def send(
    client: httpx.AsyncClient, request: httpx.Request, *, stream: bool = False
) -> httpx.Response:
    """The server's response to a request, sent once more if the connection ends before it is there.

    A server may close an idle connection just as a request is on its way (RFC 9112, section 9.5):
    that request was never read. One that had been read is computed twice at worst. A response
    is there when it is whole or, if it is streamed, when it begins. Raises: httpx.TransportError.
    """
    try:
        return await client.send(request, stream=stream)
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as lost:
        try:
            return await client.send(request, stream=stream)
        except httpx.ConnectError:
            # The server has died, and perhaps of this request.
            raise lost from None


async def whole(
    client: httpx.AsyncClient, path: str, body: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    response = await send(client, client.build_request("POST", path, json=body))
    await refuse(response)
    with shape_errors():
        answer = response.json()
    yield answer


async def streamed(
    client: httpx.AsyncClient, path: str, body: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    request = client.build_request("POST", path, json=body)
    async with aclosing(await send(client, request, stream=True)) as response:
        await refuse(response)
        async for line in response.aiter_lines():
            if not line.startswith("data:"):
                continue
            content = line.removeprefix("data:").strip()
            if content == "[DONE]":
                return
            with shape_errors():
                event = json.loads(content)
            if error := event.get("error"):
                raise EngineError(f"The server failed: {error_text(error)}")
            yield event
