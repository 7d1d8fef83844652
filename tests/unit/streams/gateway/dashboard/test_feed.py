"""One stream for all who look: begun by the first, ended after the last."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest

from schemas.errors import Overloaded
from streams.gateway.dashboard.feed import Feed, Viewer
from streams.gateway.dashboard.model import Snapshot


class Watched:
    """What is to be seen, and how often looking began and ended."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"a": 1, "b": 1}
        self.latest: list[dict[str, Any]] = []
        self.news: list[dict[str, Any]] = []
        self.began = self.ended = 0
        self.is_broken = False

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[Callable[[], Snapshot]]:
        self.began += 1
        yield self.look
        self.ended += 1

    def look(self) -> Snapshot:
        if self.is_broken:
            raise RuntimeError("broken")
        news, self.news = self.news, []
        return Snapshot(dict(self.state), list(self.latest), news)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
async def feed(watched: Watched) -> AsyncIterator[Feed]:
    made = Feed(watched.watch, every=0.001, linger=0.0)
    yield made
    await made.stop()


async def next_of(viewer: Viewer) -> dict[str, Any]:
    sent = await viewer.next()
    assert sent is not None and sent.startswith(b"data: ") and sent.endswith(b"\n\n")
    content: dict[str, Any] = orjson.loads(sent[6:])
    return content


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing else tells of it
        await asyncio.sleep(0)


async def test_who_comes_gets_everything_and_then_what_changes(
    feed: Feed, watched: Watched
) -> None:
    watched.latest = [{"id": "old"}]
    with feed.viewer() as viewer:
        assert await next_of(viewer) == {"a": 1, "b": 1, "latest": [{"id": "old"}]}
        watched.state["b"] = 2
        watched.news = [{"id": "new"}]
        while not (changed := await next_of(viewer)):
            pass
        assert changed == {"b": 2, "news": [{"id": "new"}]}
        with feed.viewer() as other:
            assert (await next_of(other))["b"] == 2
    assert watched.began == 1


async def test_nothing_is_read_before_the_first_and_after_the_last(
    feed: Feed, watched: Watched
) -> None:
    await feed.start()
    assert (feed.is_watching, watched.began) == (False, 0)
    with feed.viewer() as viewer:
        await next_of(viewer)
        assert feed.is_watching
    await until(lambda: not feed.is_watching)
    assert (watched.began, watched.ended) == (1, 1)
    with feed.viewer() as viewer:
        await next_of(viewer)
    assert watched.began == 2


async def test_a_slow_viewer_is_dropped_and_the_others_go_on(feed: Feed) -> None:
    with feed.viewer() as slow, feed.viewer() as quick:
        dropped = asyncio.create_task(slow.ended())
        while not dropped.done():
            await next_of(quick)
        assert await slow.next() is None
        await next_of(quick)
        # And may come again.
        with feed.viewer() as again:
            assert "a" in await next_of(again)


async def test_what_fails_ends_the_stream_and_begins_anew(
    feed: Feed, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    with feed.viewer() as viewer:
        await next_of(viewer)
        watched.is_broken = True
        await viewer.ended()
    watched.is_broken = False
    with feed.viewer() as viewer:
        assert "a" in await next_of(viewer)
    assert "broken" in caplog.text


async def test_the_end_ends_every_stream(feed: Feed) -> None:
    with feed.viewer() as viewer:
        await next_of(viewer)
        await feed.stop()
        assert await viewer.next() is None
    with feed.viewer() as late:
        assert await late.next() is None
    assert not feed.is_watching


async def test_more_viewers_than_allowed_are_refused(feed: Feed) -> None:
    with ExitStack() as looking, pytest.raises(Overloaded):
        while True:
            looking.enter_context(feed.viewer())
