"""Any record, as hypothesis draws it: from its schema, so a new field is drawn at once."""

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from schemas.conversion import Converter
from schemas.definitions import SCHEMAS
from schemas.records import Record


def times(count: int) -> settings:
    """So many draws, however long they take: the machine may be busy with something else."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


_YEARS_1_TO_9999_MS = (-62_135_596_800_000, 253_402_300_799_999)

_PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "string": st.text(max_size=20),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=20),
}


def data(schema: Any, named: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """What fastavro writes with the schema; times as milliseconds.

    ``named`` are the records that were spelt out before, which may be referred to by name.
    """
    named = {} if named is None else named
    if isinstance(schema, list):
        return st.one_of([data(branch, named) for branch in schema])
    if isinstance(schema, str):
        return named[schema] if schema in named else _PRIMITIVES[schema]
    if schema.get("logicalType") == "timestamp-millis":
        return st.integers(*_YEARS_1_TO_9999_MS)
    match schema["type"]:
        case "record":
            drawn = {f["name"]: data(f["type"], named) for f in schema["fields"]}
            return named.setdefault(schema["name"], st.fixed_dictionaries(drawn))
        case "array":
            return st.lists(data(schema["items"], named), max_size=3)
        case _:
            return st.dictionaries(st.text(max_size=8), data(schema["values"], named), max_size=3)


def records(record_type: type[Record]) -> st.SearchStrategy[Any]:
    """Records of that type with every field drawn."""
    tree = json.loads(SCHEMAS[record_type].text)
    return data(tree).map(Converter().from_dict(tree))
