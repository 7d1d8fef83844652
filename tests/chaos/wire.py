"""Records as a program in any language would write and read them: by schemas/avro alone."""

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

_SCHEMAS = Path(__file__).parents[2] / "schemas" / "avro"
_SINGLE_OBJECT = b"\xc3\x01"


@cache
def _schema(name: str) -> tuple[Any, bytes]:
    schema = json.loads((_SCHEMAS / f"{name}.avsc").read_text())
    crc = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return fastavro.parse_schema(schema), bytes.fromhex(crc)


def encode(name: str, record: dict[str, Any]) -> bytes:
    """The record in Avro's single-object encoding; missing fields take their defaults."""
    schema, crc = _schema(name)
    buffer = io.BytesIO(_SINGLE_OBJECT + crc)
    buffer.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()


def decode(name: str, value: bytes) -> dict[str, Any]:
    """The record in `value`, which must be written with the schema in schemas/avro."""
    schema, crc = _schema(name)
    assert value[:10] == _SINGLE_OBJECT + crc
    record = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)
    assert isinstance(record, dict)
    return record
