"""What a request may be, before anything looks at it."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.gateway.bodies import error_response
from streams.gateway.failures import BodyTooLarge
from streams.gateway.openai.errors import http_error


class BodyLimit:
    """Refuses bodies with more than so many bytes, as soon as that shows."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI middleware."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._most:
            refusal = error_response(http_error(BodyTooLarge(self._most)))
            # What is still to come is not read.
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                # FastAPI lets this one through, of all that reading a body may raise.
                raise HTTPException(413, str(BodyTooLarge(self._most)))
            return message

        await self._app(scope, counted, send)
