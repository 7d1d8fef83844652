"""What every route needs."""

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from streams.gateway.access.keys import Key
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
    401: "A token or key is missing, or is not known",
    403: "The caller may not do that, or nobody may here",
    404: "There is no such model, adapter or query",
    409: "A query of that id is under way, or was cancelled; or others write to the registry",
    413: "The body, or the query made of it, is too large",
    429: "More than the key allows; Retry-After says when to try again",
    499: "The query was cancelled",
    500: "A fault of Lorelay's own",
    502: "The engine failed on the query",
    503: "No room, or nobody to serve it; Retry-After says when to try again",
    504: "The query's time was over",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of these error responses."""
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in statuses}


def answers(
    shape: type[BaseModel], status: int = 200, meaning: str = "The answer", stream: str = ""
) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of what comes where all is well; `stream` is the media type of
    server-sent events."""
    event = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
    content = {stream: {"schema": event}} if stream else {}
    return {status: {"model": shape, "description": meaning, "content": content}}


def gateway_of(request: Request) -> Gateway:
    """The gateway that the app belongs to."""
    gateway: Gateway = request.app.state.gateway
    return gateway


# The dependencies are coroutines: FastAPI hands plain functions to a thread, each time.
_BEARER = HTTPBearer(auto_error=False, description="A user's key, or the admin's token.")

Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def token_of(bearer: HTTPAuthorizationCredentials | None) -> str | None:
    """The token that was sent, if any."""
    return bearer.credentials if bearer else None


async def asking_user(request: Request, bearer: Bearer) -> Key | None:
    """A dependency: the key of who asks; None where nobody needs one."""
    return gateway_of(request).access.user(token_of(bearer))


User = Annotated[Key | None, Depends(asking_user)]


async def only_readers(request: Request, bearer: Bearer) -> None:
    """A dependency that lets users and the admin in."""
    gateway_of(request).access.check_reader(token_of(bearer))


async def only_viewers(request: Request, bearer: Bearer) -> None:
    """A dependency that lets in who may look at the dashboard."""
    gateway_of(request).access.check_viewer(token_of(bearer))


async def only_admin(request: Request, bearer: Bearer) -> None:
    """A dependency that lets nobody else in."""
    gateway_of(request).access.check_admin(token_of(bearer))
