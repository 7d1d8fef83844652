"""Between our dataclasses and the dicts that fastavro reads and writes.

The functions are built once per record type, from its schema, so that a record costs no
look at types or fields when it is converted: two thirds of the fields need no conversion.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from schemas.definitions import record_class

NAMESPACE: Final = "lorelay"

Conversion = Callable[[Any], Any]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_millis(time: datetime) -> int:
    """Milliseconds since 1970, rounded down; raises TypeError for a time without a zone."""
    return (time - EPOCH) // _MILLISECOND


def from_millis(millis: int) -> datetime:
    """The UTC time; raises OverflowError outside the years 1 to 9999."""
    return EPOCH + timedelta(0, 0, millis * 1000)  # three times as fast as by keyword


def is_time(schema: Any) -> bool:
    """Whether the Avro type is a time."""
    return isinstance(schema, Mapping) and schema.get("logicalType") == "timestamp-millis"


def is_optional(schema: Any) -> bool:
    """Whether the Avro type is ``["null", type]``, the only kind of union that we use."""
    return isinstance(schema, list)


def unwrap(schema: Any) -> Any:
    """The type inside ``["null", type]``; any other type is itself."""
    return schema[1] if isinstance(schema, list) else schema


class Converter:
    """Builds the conversions of one schema document, in which a record is spelt out once."""

    def __init__(self) -> None:
        self._to_dict: dict[str, Conversion] = {}
        self._from_dict: dict[str, Conversion] = {}

    def to_dict(self, schema: Any) -> Conversion:
        """A function from the record to what fastavro writes."""
        names = tuple(field["name"] for field in schema["fields"])
        converted = _converted(schema, self._write_field)
        values = attrgetter(*names)

        def convert(record: Any) -> dict[str, Any]:
            result = dict(zip(names, values(record), strict=True))
            for name, write in converted:
                value = result[name]
                if value is not None:
                    result[name] = write(value)
            return result

        self._to_dict[schema["name"]] = convert
        return convert

    def from_dict(self, schema: Any) -> Conversion:
        """A function from what fastavro reads to the record."""
        record_type = record_class(schema["name"])
        converted = _converted(schema, lambda inner: self._read(unwrap(inner)))

        def convert(values: dict[str, Any]) -> Any:
            for name, read in converted:
                value = values[name]
                if value is not None:
                    values[name] = read(value)
            return record_type(**values)

        self._from_dict[schema["name"]] = convert
        return convert

    def _write_field(self, schema: Any) -> Conversion | None:
        write = self._write(unwrap(schema))
        if is_optional(schema) and write is not None and not is_time(unwrap(schema)):
            name = _full_name(unwrap(schema))
            # Naming a union's branch spares fastavro trying the whole value on each.
            return lambda value: (name, write(value))
        return write

    def _write(self, schema: Any) -> Conversion | None:
        if isinstance(schema, str):
            return self._to_dict.get(schema.rpartition(".")[2])
        if is_time(schema):
            return to_millis
        if schema["type"] == "record":
            return self.to_dict(schema)
        if schema["type"] == "array" and (item := self._write(schema["items"])):
            return lambda values: [item(value) for value in values]
        return None

    def _read(self, schema: Any) -> Conversion | None:
        if schema == "int":
            return _checked_int
        if isinstance(schema, str):
            return self._from_dict.get(schema.rpartition(".")[2])
        if is_time(schema):
            return from_millis
        if schema["type"] == "record":
            return self.from_dict(schema)
        if schema["type"] == "array":
            item = self._read(schema["items"])
            return (lambda values: tuple(map(item, values)) if values else ()) if item else tuple
        return None


def _checked_int(value: int) -> int:
    """fastavro reads any 64 bits as an int, but refuses to write more than 32."""
    if not -0x8000_0000 <= value <= 0x7FFF_FFFF:
        raise ValueError(f"{value} does not fit an int")
    return value


def _converted(
    schema: Any, conversion: Callable[[Any], Conversion | None]
) -> tuple[tuple[str, Conversion], ...]:
    found = ((field["name"], conversion(field["type"])) for field in schema["fields"])
    return tuple((name, function) for name, function in found if function)


def _full_name(schema: Any) -> str:
    name: str = schema if isinstance(schema, str) else schema["name"]
    return name if "." in name else f"{NAMESPACE}.{name}"
