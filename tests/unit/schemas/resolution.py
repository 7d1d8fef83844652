"""Whether one Avro schema reads what another wrote, by the rules of the specification.

https://avro.apache.org/docs/1.12.0/specification/#schema-resolution, and one rule more: a time
must stay a time, which Avro's own rules do not ask for.
"""

from collections.abc import Iterator
from typing import Any

_PROMOTIONS = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
}


def problems(reader: Any, written: Any, path: str = "") -> Iterator[str]:
    """Why ``reader`` can't read every datum of ``written``; nothing if it can."""
    if isinstance(written, list):
        for branch in written:
            yield from problems(reader, branch, path)
        return
    if isinstance(reader, list):
        if not any(not list(problems(branch, written, path)) for branch in reader):
            yield f"{path}: no branch of {_show(reader)} reads {_show(written)}"
        return
    if _kind(reader) != _kind(written):
        if (_kind(written), _kind(reader)) not in _PROMOTIONS:
            yield f"{path}: {_show(reader)} can't read {_show(written)}"
        return
    if _logical(reader) != _logical(written):
        yield f"{path}: logical type {_logical(written)} became {_logical(reader)}"
    match _kind(reader):
        case "record":
            yield from _record_problems(reader, written, path)
        case "array":
            yield from problems(reader["items"], written["items"], f"{path}[]")
        case "map":
            yield from problems(reader["values"], written["values"], f"{path}{{}}")


def _record_problems(reader: Any, written: Any, path: str) -> Iterator[str]:
    if reader["name"].rpartition(".")[2] != written["name"].rpartition(".")[2]:
        yield f"{path}: record {written['name']} became {reader['name']}"
    there = {field["name"]: field for field in written["fields"]}
    for field in reader["fields"]:
        name = f"{path}.{field['name']}"
        if field["name"] in there:
            yield from problems(field["type"], there[field["name"]]["type"], name)
        elif "default" not in field:
            yield f"{name}: is new and has no default"


def _kind(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])


def _logical(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _show(schema: Any) -> str:
    if isinstance(schema, list):
        return str([_show(branch) for branch in schema])
    return str(schema["name"]) if _kind(schema) == "record" else _kind(schema)
