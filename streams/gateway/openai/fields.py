"""Types of the parameters of OpenAI's API, as far as they are not plain ones."""

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, PydanticKnownError, core_schema

_MOST_MARKS = 64


class Only:
    """Marks a parameter that is accepted only where it changes nothing: null or one of these."""

    def __init__(self, *neutral: Any) -> None:
        self._neutral = neutral

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"enum": [None, *self._neutral], "description": "Nothing else is supported."}

    def _check(self, value: Any) -> Any:
        if value is not None and not any(_same(value, neutral) for neutral in self._neutral):
            raise PydanticCustomError(
                "unsupported_parameter", "is not supported here; leave it out", {}
            )
        return value


def _same(value: Any, neutral: Any) -> bool:
    # True == 1, but a flag is no number.
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)


Ignored = Annotated[Any, Field(description="Accepted; it changes nothing.")]
"""A parameter that changes no answer here."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_TEXT_OR_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

Stops = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(max_length=16, fail_fast=True),
    BeforeValidator(_as_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 16},
            ]
        }
    ),
]
"""One text or several at which the answer ends."""


def _not_too_many(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > _MOST_MARKS:
        counts = {"max_length": _MOST_MARKS, "actual_length": len(value)}
        raise PydanticKnownError("too_long", {"field_type": "Dictionary", **counts})
    return value


Context = Annotated[
    dict[str, str],
    Field(max_length=_MOST_MARKS),
    # pydantic itself would look at all of them first.
    BeforeValidator(_not_too_many),
]
"""Marks by their names."""


def _one_prompt(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], str):
            return value[0]
        raise PydanticCustomError(
            "unsupported_parameter",
            "must be one text: several prompts, and tokens, are not supported",
            {},
        )
    return value


Prompt = Annotated[
    str,
    BeforeValidator(_one_prompt),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
            ]
        }
    ),
]
"""One text, or a list of one."""


def _joined(value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, list):
        return value
    texts = []
    for number, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if kind not in ("text", "input_text") or not isinstance(text, str):
            raise PydanticCustomError(
                "unsupported_parameter",
                "part {number} is no text; only text is supported",
                {"number": number},
            )
        texts.append(text)
    return "\n".join(texts)


Content = Annotated[
    str,
    BeforeValidator(_joined),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "null"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                        "required": ["type", "text"],
                    },
                },
            ]
        }
    ),
]
"""A message's text, or its parts, which are joined by line ends."""
