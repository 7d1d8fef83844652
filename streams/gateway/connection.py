"""A client's connection: uvicorn's, and what that leaves open."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


class Connection(HttpToolsProtocol):
    """When the client leaves, all his requests that are under way learn of it, not the last one
    alone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cycles: list[RequestResponseCycle] = []

    def on_headers_complete(self) -> None:
        """A request's body is next."""
        super().on_headers_complete()
        self._cycles = [*self._under_way(), self.cycle]
        if len(self.pipeline) == 1:
            # Who has sent the next request, too, is still to be seen when he leaves.
            self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or was cut off."""
        super().connection_lost(exc)
        for cycle in self._under_way():
            cycle.disconnected = True
            cycle.message_event.set()

    def _under_way(self) -> list[RequestResponseCycle]:
        return [cycle for cycle in self._cycles if not cycle.response_complete]
