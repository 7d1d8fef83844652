"""A client's connection: uvicorn's, and what that leaves open."""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from streams.gateway.bodies import error_response
from streams.gateway.failures import HeadTooLarge
from streams.gateway.openai.errors import http_error

#: Of a request's URL and headers together, trailers included.
MOST_HEAD_BYTES: Final = 64 * 1024
#: A header's colon, space and line end.
_FRAME_BYTES: Final = 4


class Connection(HttpToolsProtocol):
    """Bounds the bytes of a request's head, which uvicorn does not.

    And when the client leaves, all his requests that are under way learn of it, not the last one
    alone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        # Those since the parser has told of anything: it keeps what is not whole yet.
        self._kept_bytes = 0
        self._cycles: list[RequestResponseCycle] = []

    def data_received(self, data: bytes) -> None:
        """What has come."""
        self._kept_bytes += len(data)
        super().data_received(data)
        if self._is_too_large and not self.transport.is_closing():
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        """The answer where the parser has failed, be it of an exception that is raised here."""
        if self._is_too_large:
            self._refuse()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._count(len(name) + len(value) + _FRAME_BYTES)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request's body is next."""
        super().on_headers_complete()
        self._cycles = [*self._under_way(), self.cycle]
        if len(self.pipeline) == 1:
            # Who has sent the next request, too, is still to be seen when he leaves.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._kept_bytes = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or was cut off."""
        super().connection_lost(exc)
        for cycle in self._under_way():
            cycle.disconnected = True
            cycle.message_event.set()

    def _count(self, size: int) -> None:
        self._kept_bytes = 0
        self._head_bytes += size
        if self._is_too_large:
            raise HeadTooLarge(MOST_HEAD_BYTES)

    @property
    def _is_too_large(self) -> bool:
        return max(self._head_bytes, self._kept_bytes) > MOST_HEAD_BYTES

    def _under_way(self) -> list[RequestResponseCycle]:
        return [cycle for cycle in self._cycles if not cycle.response_complete]

    def _refuse(self) -> None:
        if not self._under_way():
            refusal = error_response(http_error(HeadTooLarge(MOST_HEAD_BYTES)))
            refusal.headers["connection"] = "close"
            lines = [b"%b: %b\r\n" % pair for pair in refusal.raw_headers]
            self.transport.write(b"".join([STATUS_LINE[431], *lines, b"\r\n", refusal.body]))
        self.transport.close()
