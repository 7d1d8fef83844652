"""What an OpenAI-compatible server's refusals and failures mean."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from schemas.errors import (
    EngineError,
    EngineUnavailable,
    InvalidRequest,
    Overloaded,
    PromptTooLong,
)


async def refuse(response: httpx.Response) -> None:
    """Raise what an error status means."""
    if response.is_success:
        return
    await response.aread()
    message = message_of(response)
    if response.status_code in (429, 503):
        raise Overloaded(f"The server is busy: {message}")
    if response.status_code in (401, 403):
        raise EngineUnavailable(f"The server refuses the API key: {message}")
    if response.status_code == 404:
        raise UnknownModel(message)
    if response.is_client_error:
        too_long = "maximum context length" in message or "longer than the maximum" in message
        raise (PromptTooLong if too_long else InvalidRequest)(message)
    raise EngineError(f"The server failed with {response.status_code}: {message}")


def message_of(response: httpx.Response) -> str:
    """What the server says of its error, in OpenAI's shape or any other."""
    try:
        return error_text(response.json().get("error") or response.json())
    except (ValueError, AttributeError):
        return response.text[:200] or response.reason_phrase


def error_text(error: object) -> str:
    """The message in an error object, or the whole of anything else."""
    return str(error.get("message", error) if isinstance(error, dict) else error)


class UnknownModel(InvalidRequest):
    """The server has no model of the name that the request carries."""


@contextmanager
def transport_errors() -> Iterator[None]:
    """Failures of the connection as ours."""
    try:
        yield
    except httpx.ConnectError as error:
        raise EngineUnavailable(f"The server can't be reached: {error}") from error
    except httpx.HTTPError as error:
        raise EngineError(f"The connection failed: {type(error).__name__} {error}") from error


@contextmanager
def shape_errors() -> Iterator[None]:
    """Answers that are no OpenAI-compatible server's."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise EngineError(f"The server's answer has no known shape: {error!r}") from error
