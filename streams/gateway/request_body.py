"""What all bodies of requests have in common. Pure."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class RequestBody(BaseModel):
    """A JSON object with the fields that are declared, and no others.

    pydantic makes an error of each wrong field or item, and of a body full of them so many that
    nothing else is served meanwhile. So one that is unknown is enough here, and so should be the
    first wrong item of a list (`fail_fast`).
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_no_more_fields(cls, body: Any) -> Any:
        if isinstance(body, dict) and len(body) > len(cls.model_fields):
            unknown = next(name for name in body if name not in cls.model_fields)
            raise ValidationError.from_exception_data(
                cls.__name__, [{"type": "extra_forbidden", "loc": (unknown,), "input": None}]
            )
        return body
