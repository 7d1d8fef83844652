"""Counts requests, by the route that took them and how they ended."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.telemetry.gateway import GatewayMetrics

_UNMATCHED = "unmatched"


class Measured:
    """An ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts a request when its last byte is written."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            self._metrics.observe_request(route, status, perf_counter() - begun)
