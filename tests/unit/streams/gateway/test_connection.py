"""What a client may send, and how it shows that he has left."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import pytest
from starlette.types import Receive, Scope, Send

from streams.gateway.connection import MOST_HEAD_BYTES
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


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * MOST_HEAD_BYTES,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MOST_HEAD_BYTES // 5),
        b"GET / HTTP/1.1\r\na: " + b"b" * MOST_HEAD_BYTES + b"\r\n\r\n",
    ],
    ids=["url", "headers", "a whole head"],
)
async def test_a_head_that_is_too_large_is_refused(streams: Streams, head: bytes) -> None:
    reader, writer = streams
    writer.write(head)
    answer = await soon(reader.read())
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"connection: close\r\n" in answer
    assert b'"code":"head_too_large"' in answer


async def test_a_header_that_never_ends_is_cut_off(streams: Streams) -> None:
    _, writer = streams
    writer.write(b"GET / HTTP/1.1\r\na: ")
    with pytest.raises(ConnectionError):
        # Far more than what sockets buffer.
        for _ in range(1000):
            writer.write(b"b" * MOST_HEAD_BYTES)
            await soon(writer.drain())


async def test_trailers_have_the_same_bound(streams: Streams, app: Waiting) -> None:
    reader, writer = streams
    writer.write(b"POST /wait HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    writer.write(b"a: b\r\n" * (MOST_HEAD_BYTES // 5))
    assert await soon(reader.read()) == b""
    assert await soon(app.left.get()) == "/wait"


async def test_a_body_is_none_of_the_head_s_business(streams: Streams) -> None:
    reader, writer = streams
    head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\na: " + b"b" * 60_000 + b"\r\n\r\n"
    chunks = b"1\r\nx\r\n" * 100_000
    for _ in range(2):
        writer.write(head + chunks + b"0\r\n\r\n")
        answer = await soon(reader.readuntil(b"bytes"))
        assert b"100000 bytes" in answer
        await soon(reader.readuntil(b"0\r\n\r\n"))


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
