"""What every route needs."""

from typing import Any

from pydantic import BaseModel
from starlette.requests import Request

from streams.gateway.gateway import Gateway


class ErrorObject(BaseModel):
    """What went wrong, as OpenAI tells it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorObject
    lorelay: dict[str, Any] | None = None


_MEANINGS = {
    400: "A parameter is wrong, or not supported",
    404: "There is no such model, adapter or query",
    409: "A query of that id is under way, or was cancelled",
    413: "The body, or the query made of it, is too large",
    499: "The query was cancelled",
    500: "A fault of Lorelay's own",
    502: "The engine failed on the query",
    503: "No room, or nobody to serve it; Retry-After says when to try again",
    504: "The query's time was over",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of these error responses."""
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in statuses}


def gateway_of(request: Request) -> Gateway:
    """The gateway that the app belongs to."""
    gateway: Gateway = request.app.state.gateway
    return gateway
