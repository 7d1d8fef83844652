"""Bodies of responses: JSON, errors, server-sent events."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from streams.gateway.openai.errors import HttpError


def json_response(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """JSON, written by orjson."""
    return Response(orjson.dumps(content), status, dict(headers or {}), "application/json")


def error_response(error: HttpError, headers: Mapping[str, str] | None = None) -> Response:
    """An error in OpenAI's shape."""
    return json_response(error.status, error.content, {**(headers or {}), **error.headers})


def event(content: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(content) + b"\n\n"
