"""Errors as OpenAI's clients know them: a status, headers, and an `error` object. Pure."""

from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from schemas.errors import RequestError
from schemas.records import ErrorInfo
from streams.gateway.failures import InvalidParameter, LimitReached, UnknownRoute

_RETRY_AFTER_SECONDS: Final = 1

STATUS_OF_CATEGORY: Final = {
    "invalid_request": 400,
    "unknown_adapter": 404,
    "adapter_unavailable": 503,
    "deadline_exceeded": 504,
    "cancelled": 499,
    "overloaded": 503,
    "engine": 502,
    "internal": 500,
}
"""The status of each of schemas.errors' categories; 499 is what nginx calls a client who left."""

_STATUS_OF_CODE: Final = {
    "record_too_large": 413,
    "body_too_large": 413,
    "head_too_large": 431,
    "duplicate_id": 409,
    "unknown_query": 404,
    "not_answered": 409,
    "engine_unavailable": 503,
    "invalid_api_key": 401,
    "forbidden": 403,
    "admin_off": 403,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "registry_conflict": 409,
}
_OPENAI_CODES: Final = {
    "unknown_adapter": "model_not_found",
    "prompt_too_long": "context_length_exceeded",
}
_PARAMS: Final = {"unknown_adapter": "model", "duplicate_id": "id"}


@dataclass(frozen=True, slots=True)
class HttpError:
    """An error response; `content` is its body."""

    status: int
    content: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def http_error(
    error: RequestError, query_id: str | None = None, lorelay: dict[str, Any] | None = None
) -> HttpError:
    """What a client is told of an error of our own."""
    found = http_error_of(error.to_info(), query_id, lorelay)
    body = found.content["error"]
    status = found.status
    if isinstance(error, InvalidParameter):
        body["param"] = error.param
        body["code"] = error.openai_code or body["code"]
    elif isinstance(error, UnknownRoute):
        status = error.status
    headers = dict(found.headers)
    if error.retry_after_s and (error.retryable or isinstance(error, LimitReached)):
        headers["retry-after"] = str(ceil(error.retry_after_s))
    if isinstance(error, LimitReached):
        headers |= error.headers
    return HttpError(status, found.content, headers)


def http_error_of(
    info: ErrorInfo, query_id: str | None = None, lorelay: dict[str, Any] | None = None
) -> HttpError:
    """What a client is told of the error of a response.

    `x-should-retry` tells OpenAI's own client whether another try can end otherwise; by itself it
    goes by the status alone.
    """
    category = STATUS_OF_CATEGORY.get(info.category, 500)
    status = _STATUS_OF_CODE.get(info.code, category)
    headers = {"x-should-retry": "true" if info.retryable else "false"}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if info.retryable:
        headers["retry-after"] = str(_RETRY_AFTER_SECONDS)
    error = {
        "message": info.message,
        "type": _kind(status),
        "param": _PARAMS.get(info.code),
        "code": _OPENAI_CODES.get(info.code, info.code),
    }
    content: dict[str, Any] = {"error": error}
    known = lorelay or ({"query_id": query_id} if query_id else None)
    if known is not None:
        content["lorelay"] = known
    return HttpError(status, content, headers)


def _kind(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
