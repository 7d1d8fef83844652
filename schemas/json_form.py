"""Records as JSON: what people type, and what the command line prints."""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from schemas.conversion import from_millis, is_time, unwrap
from schemas.definitions import record_class
from schemas.errors import InvalidField, MalformedRecord
from schemas.records import Record

Reader = Callable[[Any, str], Any]
"""From a JSON value and its path to a value of a record; raises InvalidField."""

_RANGES: Final = {"int": 31, "long": 63}
_WORDS: Final = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


def to_json(record: Record, *, indent: bool = False) -> str:
    """The record with all its fields; times as ISO 8601 in UTC, bytes as base64."""
    option = orjson.OPT_UTC_Z | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(record, default=_plain, option=option).decode()


def parse(payload: bytes) -> dict[str, Any]:
    """The JSON object in ``payload``; raises MalformedRecord."""
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedRecord(f"The record starts like JSON, but is none: {error}") from error
    if not isinstance(found, dict):
        raise MalformedRecord("The record is JSON, but no object.")
    return found


class JsonReaders:
    """Builds the readers of one schema document, in which a record is spelt out once."""

    def __init__(self) -> None:
        self._records: dict[str, Reader] = {}

    def record(self, schema: Any) -> Reader:
        """A reader of the record; unknown fields are ignored, null is a missing field."""
        record_type = record_class(schema["name"])
        readers = {f["name"]: self._value(unwrap(f["type"])) for f in schema["fields"]}
        required = [f["name"] for f in schema["fields"] if "default" not in f]

        def read(value: Any, path: str) -> Any:
            if type(value) is not dict:
                raise _unexpected(path, "an object", value)
            prefix = f"{path}." if path else ""
            found = {
                name: reader(item, prefix + name)
                for name, item in value.items()
                if item is not None and (reader := readers.get(name))
            }
            for name in required:
                if name not in found:
                    raise InvalidField(prefix + name, "is missing")
            return record_type(**found)

        self._records[schema["name"]] = read
        return read

    def _value(self, schema: Any) -> Reader:
        if isinstance(schema, str):
            return self._records.get(schema.rpartition(".")[2]) or _primitive(schema)
        if is_time(schema):
            return _read_time
        if schema["type"] == "record":
            return self.record(schema)
        if schema["type"] == "array":
            return _array(self._value(schema["items"]))
        return _map(self._value(schema["values"]))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _unexpected(path: str, expected: str, value: object) -> InvalidField:
    return InvalidField(path, f"expected {expected}, got {_WORDS[type(value)]}")


def _primitive(name: str) -> Reader:
    if name in _RANGES:
        return _whole_number(_RANGES[name])
    return {
        "string": _read_text,
        "boolean": _read_flag,
        "double": _read_number,
        "bytes": _read_bytes,
    }[name]


def _read_text(value: Any, path: str) -> str:
    if type(value) is not str:
        raise _unexpected(path, "text", value)
    return value


def _read_flag(value: Any, path: str) -> bool:
    if type(value) is not bool:
        raise _unexpected(path, "true or false", value)
    return value


def _read_number(value: Any, path: str) -> float:
    if type(value) is not float and type(value) is not int:
        raise _unexpected(path, "a number", value)
    return float(value)


def _whole_number(bits: int) -> Reader:
    low, high = -(1 << bits), 1 << bits

    def read(value: Any, path: str) -> int:
        if type(value) is not int:
            raise _unexpected(path, "a whole number", value)
        if not low <= value < high:
            raise InvalidField(path, f"{value} is out of range")
        return value

    return read


def _read_bytes(value: Any, path: str) -> bytes:
    try:
        return base64.b64decode(_read_text(value, path), validate=True)
    except ValueError as error:
        raise InvalidField(path, f"expected base64: {error}") from error


def _read_time(value: Any, path: str) -> datetime:
    """ISO 8601 (UTC where it names no zone) or milliseconds since 1970, to the millisecond."""
    try:
        if type(value) is str:
            time = datetime.fromisoformat(value)
            time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
            return time.replace(microsecond=time.microsecond // 1000 * 1000)
        if type(value) is int or type(value) is float:
            return from_millis(int(value))
    except (ValueError, OverflowError) as error:
        raise InvalidField(path, f"{value!r} is no time: {error}") from error
    raise _unexpected(path, "a time (ISO 8601 or milliseconds since 1970)", value)


def _array(item: Reader) -> Reader:
    def read(value: Any, path: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _unexpected(path, "a list", value)
        return tuple(item(entry, f"{path}[{index}]") for index, entry in enumerate(value))

    return read


def _map(item: Reader) -> Reader:
    def read(value: Any, path: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise _unexpected(path, "an object", value)
        return {name: item(entry, f"{path}.{name}") for name, entry in value.items()}

    return read
