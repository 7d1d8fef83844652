"""Bytes to records and back: single-object Avro, Confluent's wire format, and JSON.

Single-object encoding is C3 01, the schema's fingerprint (8 bytes), the Avro body; see
https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding. Confluent's wire
format is 00, the schema registry's id (4 bytes, big-endian), the Avro body. JSON is what
starts with ``{`` after a byte order mark and white space.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Protocol, TypeVar

from fastavro import schemaless_reader, schemaless_writer

from schemas import json_form
from schemas.conversion import Conversion, Converter
from schemas.definitions import SCHEMAS, Schema, read_schema, released
from schemas.errors import MalformedRecord, RecordTooLarge, UnknownSchema
from schemas.json_form import JsonReaders, Reader
from schemas.records import RECORD_TYPES, Query, Record
from schemas.topics import MAX_QUERY_BYTES, MAX_RECORD_BYTES

_SINGLE_OBJECT: Final = b"\xc3\x01"
_CONFLUENT: Final = b"\0"
_BEFORE_JSON: Final = b"\xef\xbb\xbf \t\r\n"

R = TypeVar("R", bound=Record)


class SchemaLookup(Protocol):
    """Where the schema behind a Confluent id is found, such as a schema registry."""

    def schema_text(self, schema_id: int) -> str | None:
        """The schema, or None where the id is unknown; may block on the network."""
        ...


@dataclass(frozen=True, slots=True)
class _Form:
    """How one record type is written and read."""

    schema: Schema
    to_dict: Conversion
    from_dict: Conversion
    from_json: Reader


def _form(record_type: type[Record]) -> _Form:
    schema = SCHEMAS[record_type]
    tree = json.loads(schema.text)
    return _Form(
        schema,
        Converter().to_dict(tree),
        Converter().from_dict(tree),
        JsonReaders().record(tree),
    )


_FORMS: Final = {record_type: _form(record_type) for record_type in RECORD_TYPES}


def written_schemas() -> Mapping[str, str]:
    """The schemas that this version writes, by fingerprint in hex: the ``schemas`` topic."""
    return {form.schema.fingerprint.hex(): form.schema.text for form in _FORMS.values()}


def read_value(record_type: type[R], value: Mapping[str, Any]) -> R:
    """The record that a parsed JSON object describes; raises InvalidField."""
    record: R = _FORMS[record_type].from_json(dict(value), "")
    return record


class Codec:
    """Encodes records and decodes what others sent.

    ``ids`` are the schema registry's ids of the record types to be written in Confluent's
    wire format; the others are written as single objects. Knows its own schemas and those of
    all released versions; learns others by ``learn`` and ``look_up``. Not one of its methods
    waits for the network but ``look_up``.
    """

    def __init__(
        self,
        *,
        ids: Mapping[type[Record], int] | None = None,
        lookup: SchemaLookup | None = None,
        max_query_bytes: int = MAX_QUERY_BYTES,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._lookup = lookup
        self._max_query_bytes = max_query_bytes
        self._max_record_bytes = max_record_bytes
        self._by_fingerprint = {form.schema.fingerprint: form.schema for form in _FORMS.values()}
        for _, schema in released():
            self._by_fingerprint.setdefault(schema.fingerprint, schema)
        self._by_id: dict[int, Schema] = {}
        self._prefixes = {
            record_type: _SINGLE_OBJECT + form.schema.fingerprint
            for record_type, form in _FORMS.items()
        }
        for record_type, schema_id in (ids or {}).items():
            self._by_id[schema_id] = _FORMS[record_type].schema
            self._prefixes[record_type] = _CONFLUENT + schema_id.to_bytes(4, "big")

    def encode(self, record: Record) -> bytes:
        """The record in Avro; raises RecordTooLarge for what the broker would refuse.

        Times keep milliseconds; one without a zone is a mistake of ours (TypeError).
        """
        record_type = type(record)
        form = _FORMS[record_type]
        buffer = BytesIO()
        buffer.write(self._prefixes[record_type])
        schemaless_writer(buffer, form.schema.layout, form.to_dict(record))
        payload = buffer.getvalue()
        self._check_size(record_type, len(payload))
        return payload

    def decode(self, record_type: type[R], payload: bytes) -> R:
        """The record of that type in ``payload``.

        Raises only kinds of DecodeError; UnknownSchema where ``learn`` or ``look_up`` may help.
        """
        self._check_size(record_type, len(payload))
        form = _FORMS[record_type]
        record: R
        if payload[:2] == _SINGLE_OBJECT:
            record = _read(form, self._schema_of_fingerprint(payload[2:10]), payload, 10)
        elif payload[:1] == _CONFLUENT:
            record = _read(form, self._schema_of_id(payload[1:5]), payload, 5)
        else:
            text = payload.lstrip(_BEFORE_JSON)
            if text[:1] != b"{":
                raise MalformedRecord(_describe(payload))
            record = form.from_json(json_form.parse(text), "")
        return record

    def learn(self, schema_text: str, schema_id: int | None = None) -> str:
        """Takes in a schema that records may be written with; returns its fingerprint in hex.

        ``schema_id`` is its id in the schema registry, if it comes from there. Raises
        MalformedRecord where the text is no schema of a record.
        """
        schema = read_schema(schema_text)
        schema = self._by_fingerprint.setdefault(schema.fingerprint, schema)
        if schema_id is not None:
            self._by_id[schema_id] = schema
        return schema.fingerprint.hex()

    def knows(self, fingerprint: str) -> bool:
        """Whether records with that fingerprint (hex) can be decoded."""
        return bytes.fromhex(fingerprint) in self._by_fingerprint

    def look_up(self, unknown: UnknownSchema) -> bool:
        """Asks the schema registry for the schema that was missing; whether it knew it.

        Blocks on the network: call it in a thread. Raises MalformedRecord where the registry
        holds no Avro schema under that id.
        """
        if self._lookup is None or unknown.schema_id is None:
            return False
        text = self._lookup.schema_text(unknown.schema_id)
        if text is None:
            return False
        self.learn(text, unknown.schema_id)
        return True

    def _schema_of_fingerprint(self, fingerprint: bytes) -> Schema:
        schema = self._by_fingerprint.get(fingerprint)
        if schema is None:
            if len(fingerprint) < 8:
                raise MalformedRecord("The record ends within its schema's fingerprint.")
            raise UnknownSchema(fingerprint.hex())
        return schema

    def _schema_of_id(self, encoded: bytes) -> Schema:
        if len(encoded) < 4:
            raise MalformedRecord("The record ends within its schema id.")
        schema_id = int.from_bytes(encoded, "big")
        schema = self._by_id.get(schema_id)
        if schema is None:
            raise UnknownSchema(schema_id=schema_id)
        return schema

    def _check_size(self, record_type: type[Record], size: int) -> None:
        limit = self._max_query_bytes if record_type is Query else self._max_record_bytes
        if size > limit:
            raise RecordTooLarge(size, limit)


def _read(form: _Form, written: Schema, payload: bytes, start: int) -> Any:
    own = form.schema
    if written.name != own.name:
        raise MalformedRecord(f"The record is a {written.name}, expected was a {own.name}.")
    buffer = BytesIO(payload)
    buffer.seek(start)
    resolve = None if written.fingerprint == own.fingerprint else own.layout
    try:
        record = form.from_dict(schemaless_reader(buffer, written.layout, resolve))
    except Exception as error:  # fastavro raises whatever the broken bytes lead it to
        raise MalformedRecord(f"The {own.name} record is broken: {_reason(error)}") from error
    if left := len(payload) - buffer.tell():
        raise MalformedRecord(f"{left} bytes follow the {own.name} record.")
    return record


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError | IndexError):
        return "it ends too early or its lengths are wrong"
    return str(error) or type(error).__name__


def _describe(payload: bytes) -> str:
    if not payload:
        return "The record is empty."
    start = payload[:8].hex(" ")
    return f"The record is neither Avro (C3 01 or 00 first) nor JSON: it starts with {start}."
