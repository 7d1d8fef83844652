"""One query that is under way."""

import asyncio
from collections.abc import Callable
from time import perf_counter

from schemas.errors import RequestError
from schemas.records import Chunk, Origin, Query, Response
from streams.assembly import StreamedText
from streams.gateway.failures import ClientTooSlow
from streams.interruption import Interruption


class Asked:
    """What has come of a query so far, for the one task that waits for it.

    Its records are known by the id and, as others may use the same id, by the origin.
    """

    def __init__(self, query: Query, most_chars: int) -> None:
        assert query.id is not None, "the gateway gives every query an id"
        self.query_id = query.id
        self.query = query
        self.response: Response | None = None
        #: Who writes the answer, as its chunks say; None before the first.
        self.first_chunk: Chunk | None = None
        self.text = StreamedText()
        #: Pieces of the answer that were written, as far as is known, of a token each or more.
        self.pieces = 0
        self.interruption = Interruption()
        self.begun = perf_counter()
        self._most_chars = most_chars
        self.is_sent = False
        self._origin: Origin | None = None
        self._early: list[Callable[[], None]] = []
        self._news = asyncio.Event()

    def sent(self, origin: Origin | None) -> None:
        """The query is on its topic; what came for it before that was known counts now.

        Without an origin, which a broker may not know any more, the id has to do.
        """
        self.is_sent = True
        self._origin = origin
        early, self._early = self._early, []
        for take in early:
            take()

    def take_response(self, response: Response) -> None:
        """A reply with the query's id; one to another record is left out."""
        if not self.is_sent:
            self._early.append(lambda: self.take_response(response))
        elif self._is_of_this(response) and self.response is None:
            self.response = response
            self._news.set()

    def take_chunk(self, chunk: Chunk) -> None:
        """A chunk with the query's id; one of another record is left out."""
        if not self.is_sent:
            self._early.append(lambda: self.take_chunk(chunk))
        elif self._is_of_this(chunk) and self.response is None:
            self.first_chunk = self.first_chunk or chunk
            self.pieces = max(self.pieces, chunk.sequence + bool(chunk.text))
            if self.text.waiting > self._most_chars:
                self.interruption.end(ClientTooSlow("The client takes its answer too slowly."))
            self.text.add(chunk)
            self._news.set()

    def end(self, error: RequestError) -> None:
        """Whoever waits gets the error."""
        self.interruption.end(error)

    @property
    def is_answered(self) -> bool:
        """Whether the response is there."""
        return self.response is not None

    async def news(self, seconds: float | None = None) -> bool:
        """Whether something has come since the last call, or does within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    async def answer(self) -> Response:
        """The response, once it is there."""
        while self.response is None:
            await self.news()
        return self.response

    def _is_of_this(self, record: Response | Chunk) -> bool:
        return self._origin is None or record.origin == self._origin
