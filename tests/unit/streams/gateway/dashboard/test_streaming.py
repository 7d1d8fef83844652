"""The response of one viewer: its beginning, and every way it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streams.gateway.dashboard.feed import Feed
from streams.gateway.dashboard.model import Snapshot
from streams.gateway.dashboard.streaming import Streaming


@asynccontextmanager
async def watch() -> AsyncIterator[Callable[[], Snapshot]]:
    yield lambda: Snapshot({"a": 1})


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    made = Feed(watch, every=0.001, linger=0.0)
    yield made
    await made.stop()


class Client:
    """An HTTP connection as an ASGI server hands it on."""

    def __init__(self, takes: int) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()
        self._takes = takes

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.sent) >= self._takes:
            await asyncio.Event().wait()
        self.sent.append(message)

    async def look(self, feed: Feed) -> None:
        await Streaming(feed)({"type": "http"}, self.receive, self.send)

    async def until_sent(self, count: int) -> None:
        while len(self.sent) < count:  # noqa: ASYNC110 - nothing else tells of it
            await asyncio.sleep(0)


async def test_a_viewer_who_leaves_is_one_no_more(feed: Feed) -> None:
    client = Client(takes=1_000_000)
    looking = asyncio.create_task(client.look(feed))
    await client.until_sent(3)
    assert client.sent[0]["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in client.sent[0]["headers"]
    assert client.sent[1]["body"] == b'data: {"a":1,"latest":[]}\n\n'
    client.left.set()
    await looking
    assert len(feed) == 0


async def test_one_who_takes_nothing_is_dropped(feed: Feed) -> None:
    client = Client(takes=2)
    await client.look(feed)
    assert len(client.sent) == 2
    assert len(feed) == 0


async def test_the_end_of_the_feed_is_that_of_the_response(feed: Feed) -> None:
    client = Client(takes=1_000_000)
    looking = asyncio.create_task(client.look(feed))
    await client.until_sent(2)
    await feed.stop()
    await looking
    assert client.sent[-1] == {"type": "http.response.body", "body": b""}
