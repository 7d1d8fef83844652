"""An answer that is read while it is written."""

import asyncio
from collections.abc import AsyncIterator

from schemas.records import Chunk, Query, Response
from streams.assembly import Diverged, StreamedText
from streams.client.failures import AnsweredWithError, NoAnswer, StreamBroken
from streams.client.queries import QueryClient


class Stream:
    """Iterated once, it asks the query and yields the new text; then `response` has it all."""

    def __init__(self, queries: QueryClient, query: Query, seconds: float) -> None:
        assert query.id is not None
        self.query_id = query.id
        self.response: Response | None = None
        self._queries = queries
        self._query = query
        self._seconds = seconds
        self._text = StreamedText()
        self._news = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[str]:
        """Whoever leaves early takes the query back. Raises: StreamBroken, and as Client.ask."""
        until = asyncio.get_running_loop().time() + self._seconds
        async with self._queries.asking(self._query, until, self._on_chunk) as waiting:
            waiting.add_done_callback(lambda _: self._news.set())
            while not waiting.done():
                await self._news_until(until)
                if text := self._text.take():
                    yield text
        self.response = waiting.result().response
        if text := self._rest(self.response):
            yield text

    def _on_chunk(self, chunk: Chunk) -> None:
        self._text.add(chunk)
        self._news.set()

    async def _news_until(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError as error:
            raise NoAnswer(f"No answer within {self._seconds:g} s.") from error
        self._news.clear()

    def _rest(self, response: Response) -> str:
        """What the chunks lacked."""
        if response.error is not None:
            raise AnsweredWithError(response)
        try:
            self._text.complete(response.text or "")
        except Diverged as error:
            raise StreamBroken(response) from error
        return self._text.take()
