"""The feed as a response of server-sent events."""

import asyncio
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from streams.gateway.dashboard.feed import Feed, Viewer

_LAST_WORDS_SECONDS: Final = 1.0
_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class Streaming(Response):
    """Sends one viewer his events until he leaves, is too slow, or the gateway stops."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises: Overloaded, before anything is sent."""
        with self._feed.viewer() as viewer:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            writing = asyncio.create_task(_write(viewer, send))
            others = [asyncio.create_task(_left(receive)), asyncio.create_task(viewer.ended())]
            try:
                await asyncio.wait([writing, *others], return_when=asyncio.FIRST_COMPLETED)
                if others[1].done():
                    # Who takes nothing does not take this either: his connection is closed.
                    await asyncio.wait([writing], timeout=_LAST_WORDS_SECONDS)
            finally:
                for task in (writing, *others):
                    task.cancel()
                await asyncio.wait([writing, *others])


async def _write(viewer: Viewer, send: Send) -> None:
    while (sent := await viewer.next()) is not None:
        await send({"type": "http.response.body", "body": sent, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
