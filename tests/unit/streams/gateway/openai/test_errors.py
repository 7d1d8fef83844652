"""Every error of ours in OpenAI's terms."""

from typing import get_args

import pytest

from schemas.errors import (
    Cancelled,
    Category,
    DeadlineExceeded,
    EngineCrashed,
    Overloaded,
    PromptTooLong,
    RecordTooLarge,
    RequestError,
    UnknownAdapter,
)
from schemas.records import ErrorInfo
from streams.gateway.failures import (
    DuplicateId,
    InvalidParameter,
    Stopping,
    UnknownQuery,
    UnknownRoute,
)
from streams.gateway.openai.errors import STATUS_OF_CATEGORY, http_error, http_error_of


def test_every_category_has_a_status() -> None:
    assert set(STATUS_OF_CATEGORY) == set(get_args(Category))


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (PromptTooLong("x"), 400, "context_length_exceeded", None),
        (RecordTooLarge(2, 1), 413, "record_too_large", None),
        (UnknownAdapter("x", ["y"]), 404, "model_not_found", "model"),
        (UnknownQuery("q"), 404, "unknown_query", None),
        (UnknownRoute("GET", "/x", 405), 405, "unknown_url", None),
        (DuplicateId("x"), 409, "duplicate_id", "id"),
        (InvalidParameter("n", "x", "unsupported_parameter"), 400, "unsupported_parameter", "n"),
        (DeadlineExceeded("x"), 504, "deadline_exceeded", None),
        (Cancelled("x"), 499, "cancelled", None),
        (Overloaded("x"), 503, "overloaded", None),
        (Stopping("x"), 503, "stopping", None),
        (EngineCrashed("x"), 502, "engine_crashed", None),
    ],
)
def test_an_error_has_its_status_code_and_parameter(
    error: RequestError, status: int, code: str, param: str | None
) -> None:
    told = http_error(error, "q-1")
    assert told.status == status
    body = told.content["error"]
    assert (body["code"], body["param"], body["message"]) == (code, param, str(error))
    assert told.content["lorelay"] == {"query_id": "q-1"}


def test_a_client_is_told_whether_to_try_again() -> None:
    crashed = ErrorInfo("engine", "engine_crashed", "The engine died.", retryable=True)
    assert http_error_of(crashed).headers == {"x-should-retry": "true", "retry-after": "1"}
    assert http_error(Cancelled("x")).headers == {"x-should-retry": "false"}


def test_a_later_version_s_category_is_a_fault_of_the_server() -> None:
    assert http_error_of(ErrorInfo("weather", "hail", "It hails.")).status == 500
