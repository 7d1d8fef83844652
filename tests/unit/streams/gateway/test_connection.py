"""What a client may send, and how it shows that he has left."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import pytest
from starlette.types import Receive, Scope, Send

from streams.gateway.server import ApiServer

T = TypeVar("T")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Waiting:
    """An application that answers / with the body's length, and elsewhere waits for the end."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.left: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        self.begun.put_nowait(path)
        length, message = 0, await receive()
        while message["type"] != "http.disconnect":
            length += len(message["body"])
            if path == "/" and not message["more_body"]:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"%d bytes" % length})
                return
            message = await receive()
        self.left.put_nowait(path)


@pytest.fixture
def app() -> Waiting:
    return Waiting()


@pytest.fixture
async def streams(app: Waiting) -> AsyncIterator[Streams]:
    """A connection to the server of that application."""
    server = ApiServer("127.0.0.1", 0, stall_seconds=30.0)
    port = int(server.bind().rpartition(":")[2])
    await server.start(app)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await server.stop()


async def soon(awaited: Coroutine[Any, Any, T]) -> T:
    """What it gives, but not for ever."""
    async with asyncio.timeout(30):
        return await awaited


@pytest.mark.parametrize("together", [True, False])
async def test_who_leaves_with_several_requests_under_way_leaves_them_all(
    streams: Streams, app: Waiting, together: bool
) -> None:
    _, writer = streams
    first, second = b"GET /first HTTP/1.1\r\n\r\n", b"GET /second HTTP/1.1\r\n\r\n"
    writer.write(first + second if together else first)
    assert await soon(app.begun.get()) == "/first"
    if not together:
        writer.write(second)
    await writer.drain()
    writer.close()
    assert await soon(app.left.get()) == "/first"
