"""Bodies full of what is wrong."""

from typing import Any

import pytest
from pydantic import ValidationError

from streams.gateway.openai.requests import AskedChat, AskedCompletion
from streams.gateway.request_body import RequestBody
from streams.gateway.routes.feedback import Opinion
from streams.gateway.routes.registering import Registration

MANY = 5000
UNKNOWN = {f"a{number}": 1 for number in range(MANY)}
MESSAGE = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("shape", "body", "where"),
    [
        (AskedCompletion, {"prompt": "x", **UNKNOWN}, ("a0",)),
        (AskedCompletion, {"prompt": "x", "stream_options": UNKNOWN}, ("stream_options", "a0")),
        (AskedCompletion, {"prompt": "x", "context": UNKNOWN}, ("context",)),
        (AskedCompletion, {"prompt": "x", "stop": [1] * MANY}, ("stop", 0)),
        (AskedChat, {"messages": [MESSAGE, *[1] * MANY]}, ("messages", 1)),
        (AskedChat, {"messages": [MESSAGE | UNKNOWN]}, ("messages", 0, "a0")),
        (AskedChat, {"messages": [MESSAGE | {"a": 1}] * MANY}, ("messages", 0, "a")),
        (Opinion, {"query_id": "q", "rating": 1, **UNKNOWN}, ("a0",)),
        (Registration, {"adapter_metadata": {}, "examples": [1] * MANY}, ("examples", 0)),
    ],
)
def test_of_very_many_faults_one_is_told(
    shape: type[RequestBody], body: dict[str, Any], where: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as refused:
        shape.model_validate(body)
    (error,) = refused.value.errors()
    assert error["loc"] == where


def test_marks_are_as_many_as_are_allowed() -> None:
    marks = {f"a{number}": "x" for number in range(64)}
    asked = AskedCompletion.model_validate({"prompt": "x", "context": marks})
    assert asked.context == marks
    with pytest.raises(ValidationError, match="at most 64 items"):
        AskedCompletion.model_validate({"prompt": "x", "context": marks | {"b": "x"}})
