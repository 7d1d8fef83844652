"""The Avro schemas of ``schemas/avro``, read once, and what may be learned beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas import records
from schemas.errors import MalformedRecord
from schemas.records import RECORD_TYPES, Record

FOLDER: Final = Path(__file__).parent / "avro"
RELEASED: Final = FOLDER / "released"


@dataclass(frozen=True, slots=True)
class Schema:
    """An Avro schema of a record, ready for reading and writing.

    ``fingerprint`` is CRC-64-AVRO of the parsing canonical form, in the order of bytes that
    single-object encoding puts after C3 01. ``layout`` is the parsed schema without logical
    types: times stay integers, which is several times faster than fastavro's conversion.
    """

    name: str
    text: str
    fingerprint: bytes
    layout: Any


def read_schema(text: str) -> Schema:
    """The record schema that ``text`` holds.

    Raises MalformedRecord where it is none, or one that could be read without end: a
    recursive record, or one that takes no bytes.
    """
    try:
        tree = json.loads(text)
        layout = parse_schema(_without_logical_types(tree))
        canonical = to_parsing_canonical_form(layout)
        hashed = fingerprint(canonical, "CRC-64-AVRO")
    except (RecursionError, ValueError, TypeError, KeyError) as error:
        raise MalformedRecord(f"Not an Avro schema: {error}") from error
    except Exception as error:  # fastavro's schema errors have no common root but Exception
        raise MalformedRecord(f"Not an Avro schema: {error}") from error
    if not isinstance(layout, dict) or layout["type"] != "record":
        raise MalformedRecord("An Avro schema, but not one of a record.")
    _check_bounded(json.loads(canonical))
    return Schema(
        name=layout["name"].rpartition(".")[2],
        text=text,
        fingerprint=bytes.fromhex(hashed),
        layout=layout,
    )


def load(record_type: type[Record]) -> Schema:
    """This version's schema of ``record_type``."""
    return read_schema((FOLDER / f"{record_type.__name__}.avsc").read_text("utf-8"))


@cache
def released() -> tuple[tuple[str, Schema], ...]:
    """Every schema of every released version, oldest version first."""
    versions = sorted(
        (folder.name for folder in RELEASED.iterdir() if folder.is_dir()),
        key=lambda version: tuple(map(int, version.split("."))),
    )
    return tuple(
        (version, read_schema(path.read_text("utf-8")))
        for version in versions
        for path in sorted((RELEASED / version).glob("*.avsc"))
    )


def record_class(name: str) -> type[Any]:
    """The dataclass of the Avro record ``name``, with or without its namespace."""
    found: type[Any] = getattr(records, name.rpartition(".")[2])
    return found


def _without_logical_types(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_without_logical_types(branch) for branch in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        key: value if key in ("default", "symbols") else _without_logical_types(value)
        for key, value in tree.items()
        if key not in ("doc", "logicalType")
    }


def _check_bounded(tree: Any) -> None:
    """Every record and array item takes a byte at least, so a payload's size bounds the work."""
    _takes_bytes(tree, {}, ())


def _takes_bytes(tree: Any, known: dict[str, bool], inside: tuple[str, ...]) -> bool:
    if isinstance(tree, list):  # a union starts with its branch number
        for branch in tree:
            _takes_bytes(branch, known, inside)
        return True
    if isinstance(tree, str):
        if tree in inside:
            raise MalformedRecord(f"The Avro schema is recursive: {tree}.")
        return known.get(tree, tree != "null")
    kind = tree["type"]
    if kind == "record":
        fields = [_takes_bytes(f["type"], known, (*inside, tree["name"])) for f in tree["fields"]]
        if not any(fields):
            raise MalformedRecord(f"A record of the Avro schema takes no bytes: {tree['name']}.")
        known[tree["name"]] = True
    elif kind in ("array", "map"):
        if (
            not _takes_bytes(tree.get("items", tree.get("values")), known, inside)
            and kind == "array"
        ):
            raise MalformedRecord("An array of the Avro schema has items that take no bytes.")
    elif kind in ("fixed", "enum"):
        known[tree["name"]] = tree.get("size") != 0
        return known[tree["name"]]
    return True


SCHEMAS: Final[Mapping[type[Record], Schema]] = {kind: load(kind) for kind in RECORD_TYPES}
"""This version's schema of each record type."""
