"""A request from its query to its last byte: sent, waited for, and written, whole or in pieces."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

from starlette.responses import Response as HttpResponse
from starlette.types import Message, Receive, Scope, Send

from schemas.errors import RequestError
from schemas.records import BASE, Query, Response, Usage
from streams.assembly import Diverged
from streams.gateway.access.budgets import Permit
from streams.gateway.asked import Asked
from streams.gateway.bodies import error_response, event, json_response
from streams.gateway.exchange import Exchange
from streams.gateway.failures import ClientLeft, ClientTooSlow, StreamBroken
from streams.gateway.openai.answers import Kind, StreamShape, answer
from streams.gateway.openai.decision import (
    decision,
    decision_headers,
    header_text,
    query_headers,
)
from streams.gateway.openai.errors import http_error, http_error_of
from streams.gateway.operation import Operation
from streams.gateway.sender import Header

#: A stream's status and headers go out with its first chunk, which may be an error; but no later.
#: After that a comment shows so often that the connection lives.
_SIGN_SECONDS: Final = 10.0
_SIGN: Final = b": waiting\n\n"
_DONE: Final = b"data: [DONE]\n\n"
_STREAM_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class Answering(HttpResponse):
    """Asks the query while it is called, and answers with what comes of it."""

    def __init__(
        self,
        exchange: Exchange,
        query: Query,
        received: Sequence[Header],
        *,
        permit: Permit,
        operation: Operation,
        kind: Kind,
        base_model: str | None,
        include_usage: bool,
        stall_seconds: float,
    ) -> None:
        super().__init__()
        self._exchange = exchange
        self._query = query
        self._received = received
        self._permit = permit
        self._operation = operation
        self._kind = kind
        self._base_model = base_model
        self._include_usage = include_usage
        self._stall_seconds = stall_seconds
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends every way a query can end."""
        with self._permit.held(), self._operation:
            await self._answer(scope, receive, _with_headers(send, self._permit.headers))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._query.id is not None
        try:
            with (
                self._exchange.ask(self._query) as asked,
                _watched(receive, asked),
                asked.interruption.interruptible(),
            ):
                await self._exchange.send(asked, self._received, self._operation.trace)
                try:
                    if self._query.stream:
                        await self._stream(asked, scope, receive, send)
                    else:
                        whole = self._whole(await asked.answer())
                        await whole(scope, receive, send)
                finally:
                    if asked.response is not None:
                        self._operation.answered(asked.response, is_cut=self._has_begun)
                        self._permit.spend(asked.response.usage)
                    else:
                        # Who leaves a stream before its end has had that much of it.
                        self._permit.spend(Usage(completion_tokens=asked.pieces))
        except RequestError as error:
            has_gone = isinstance(error, ClientLeft | ClientTooSlow)
            self._operation.failed(error.to_info(), is_cut=self._has_begun or has_gone)
            told = http_error(error, self._query.id)
            if not self._has_begun:
                refusal = error_response(told, query_headers(self._query.id))
                await refusal(scope, receive, send)
            elif not has_gone:
                with suppress(ClientTooSlow):
                    await self._write(send, event(told.content), is_last=True)

    def _whole(self, response: Response) -> HttpResponse:
        headers = decision_headers(response)
        if response.error is not None:
            told = http_error_of(response.error, lorelay=decision(response))
            return error_response(told, headers)
        return json_response(200, answer(self._kind, response), headers)

    async def _stream(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        shape = StreamShape(self._kind, asked.query_id, datetime.now(UTC), self._include_usage)
        while True:
            has_news = await asked.news(_SIGN_SECONDS)
            if asked.is_answered:
                break
            if not self._has_begun:
                await self._begin(asked, shape, send)
            if text := asked.text.take():
                await self._write(send, event(shape.delta(text)))
            elif not has_news:
                await self._write(send, _SIGN)
        response = await asked.answer()
        if not self._has_begun:
            if response.error is not None:
                await self._whole(response)(scope, receive, send)
                return
            await self._send_head(send, decision_headers(response))
        await self._write(send, self._ending(asked, shape, response), is_last=True)

    async def _begin(self, asked: Asked, shape: StreamShape, send: Send) -> None:
        headers = query_headers(asked.query_id)
        if (chunk := asked.first_chunk) is not None:
            shape.model = chunk.adapter or self._base_model or BASE
            headers["x-lorelay-adapter"] = header_text(chunk.adapter or BASE)
            seconds = perf_counter() - asked.begun
            self._exchange.metrics.observe_first_chunk(seconds)
            self._operation.begun(seconds)
        await self._send_head(send, headers)

    def _ending(self, asked: Asked, shape: StreamShape, response: Response) -> bytes:
        if response.error is not None:
            return event(http_error_of(response.error, lorelay=decision(response)).content)
        try:
            asked.text.complete(response.text or "")
        except Diverged as error:
            self._exchange.metrics.count_broken_stream()
            raise StreamBroken(
                "The answer was begun anew and became another one than was sent so far: "
                f"/v1/responses/{asked.query_id} has it."
            ) from error
        text = asked.text.take()
        pieces = [shape.delta(text)] if text or not shape.has_begun else []
        pieces.append(shape.last(response))
        if self._include_usage:
            pieces.append(shape.usage(response))
        return b"".join(map(event, pieces)) + _DONE

    async def _send_head(self, send: Send, headers: dict[str, str]) -> None:
        self._has_begun = True
        pairs = (headers | _STREAM_HEADERS).items()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(name.encode(), value.encode()) for name, value in pairs],
            }
        )

    async def _write(self, send: Send, body: bytes, is_last: bool = False) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await send({"type": "http.response.body", "body": body, "more_body": not is_last})
        except TimeoutError as error:
            raise ClientTooSlow("The client takes its answer too slowly.") from error


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Adds them to the response that is sent."""
    if not headers:
        return send
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def added(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *pairs]
        await send(message)

    return added


@contextmanager
def _watched(receive: Receive, asked: Asked) -> Iterator[None]:
    """Ends the query when its client goes."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        asked.end(ClientLeft("The client has left."))

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
