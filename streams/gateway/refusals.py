"""What goes wrong before a query is sent, in OpenAI's shape."""

import logging
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from schemas.errors import InternalError, RegistrationRefused, RequestError
from streams.gateway.bodies import error_response
from streams.gateway.failures import BodyTooLarge, InvalidParameter, UnknownRoute
from streams.gateway.openai.errors import http_error, http_error_of
from streams.gateway.tracing import trace_of

log = logging.getLogger(__name__)

_CODES: Final = {
    "extra_forbidden": "unknown_parameter",
    "missing": "missing_required_parameter",
    "unsupported_parameter": "unsupported_parameter",
    "json_invalid": "invalid_json",
}


def add_refusals(app: FastAPI, most_bytes: int) -> None:
    """Has the app answer its exceptions."""

    async def on_request_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return _told(request, error)

    async def on_registration(request: Request, error: Exception) -> Response:
        assert isinstance(error, RegistrationRefused)
        return error_response(http_error_of(error.to_info()))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _told(request, invalid(error.errors()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _told(request, _of_http(request, error, most_bytes))

    async def on_fault(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response(http_error(InternalError("The gateway failed on this request.")))

    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(RegistrationRefused, on_registration)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_fault)


def _told(request: Request, error: RequestError) -> Response:
    trace_of(request).describe({"lorelay.error.code": error.code})
    return error_response(http_error(error))


def invalid(problems: Any) -> InvalidParameter:
    """The first of what pydantic has found wrong."""
    problem = problems[0]
    param = _path(problem["loc"]) or None
    kind = problem["type"]
    if kind == "extra_forbidden":
        sentence = f"Unrecognized request argument supplied: {param}"
    elif kind == "json_invalid":
        param, sentence = None, f"The body is no JSON: {problem['ctx']['error']}."
    elif kind == "value_error":
        sentence = f"{param or 'The body'}: {problem['ctx']['error']}."
    elif param is None:
        sentence = "The body must be a JSON object (content-type: application/json)."
    else:
        sentence = f"{param}: {problem['msg']}."
    return InvalidParameter(param, sentence, _CODES.get(kind, "invalid_value"))


def _path(location: tuple[str | int, ...]) -> str:
    """`messages[0].role` of ("body", "messages", 0, "role")."""
    path = ""
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    # A name that nobody knows may hold what is no text.
    return path.removeprefix(".").encode(errors="backslashreplace").decode()


def _of_http(request: Request, error: HTTPException, most_bytes: int) -> RequestError:
    if error.status_code == 413:
        return BodyTooLarge(most_bytes)
    if error.status_code in (404, 405):
        return UnknownRoute(request.method, request.url.path, error.status_code)
    return InvalidParameter(None, f"{error.detail}.", "invalid_json")
