import json
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Codec, read_value, written_schemas
from schemas.definitions import FOLDER, SCHEMAS
from schemas.errors import (
    DecodeError,
    InvalidField,
    MalformedRecord,
    RecordTooLarge,
    UnknownSchema,
)
from schemas.json_form import to_json
from schemas.records import (
    RECORD_TYPES,
    Cancel,
    InferenceRequest,
    Message,
    Origin,
    Query,
    Record,
    Response,
    Routing,
)
from tests.unit.schemas.strategies import records, times

every_type = pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda kind: kind.__name__)

mutations = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 4), st.binary(max_size=4)),
    min_size=1,
    max_size=4,
)
"""Where to cut, how many bytes to take out, and what to put in."""

QUERY = Query(id="q-1", prompt="Wie lange ist die Frist?", messages=(Message("user", "hallo"),))
IDS = {record_type: number for number, record_type in enumerate(RECORD_TYPES, 7)}


def newer_query_schema() -> str:
    """Query as a later version might write it: a field more, one gone, others moved."""
    tree = json.loads(SCHEMAS[Query].text)
    fields = [field for field in reversed(tree["fields"]) if field["name"] != "tenant"]
    fields.append({"name": "mood", "type": ["null", "string"], "default": None})
    return json.dumps({**tree, "fields": fields})


def written_with(schema_text: str, datum: dict[str, Any]) -> bytes:
    """The Avro body alone."""
    body = BytesIO()
    schemaless_writer(body, parse_schema(json.loads(schema_text)), datum)
    return body.getvalue()


class OneSchema:
    """A registry that knows one schema, under id 500."""

    def __init__(self, text: str) -> None:
        self._text = text

    def schema_text(self, schema_id: int) -> str | None:
        return self._text if schema_id == 500 else None


class TestRoundTrips:
    @every_type
    def test_a_record_survives_single_object_encoding(self, record_type: type[Record]) -> None:
        @times(25)
        @given(records(record_type))
        def check(record: Record) -> None:
            codec = Codec()
            assert codec.decode(record_type, codec.encode(record)) == record

        check()

    @every_type
    def test_a_record_survives_confluents_wire_format(self, record_type: type[Record]) -> None:
        codec = Codec(ids=IDS)

        @times(25)
        @given(records(record_type))
        def check(record: Record) -> None:
            payload = codec.encode(record)
            assert payload[:5] == b"\0" + IDS[record_type].to_bytes(4, "big")
            assert codec.decode(record_type, payload) == record

        check()

    @every_type
    def test_a_record_survives_json(self, record_type: type[Record]) -> None:
        codec = Codec()

        @times(25)
        @given(records(record_type), st.booleans())
        def check(record: Record, indent: bool) -> None:
            payload = to_json(record, indent=indent).encode()
            assert codec.decode(record_type, payload) == record

        check()

    @every_type
    def test_an_avro_library_reads_it_with_the_avsc_file_alone(
        self, record_type: type[Record]
    ) -> None:
        schema = parse_schema(json.loads((FOLDER / f"{record_type.__name__}.avsc").read_text()))
        codec = Codec()

        @times(25)
        @given(records(record_type))
        def check(record: Record) -> None:
            payload = BytesIO(codec.encode(record)[10:])
            assert set(schemaless_reader(payload, schema, None)) == {
                field["name"] for field in schema["fields"]
            }
            assert not payload.read()

        check()


class TestSingleObjectEncoding:
    def test_starts_with_the_marker_and_the_schemas_fingerprint(self) -> None:
        payload = Codec().encode(QUERY)
        assert payload[:2] == b"\xc3\x01"
        assert payload[2:10].hex() in written_schemas()
        assert json.loads(written_schemas()[payload[2:10].hex()])["name"] == "Query"

    def test_the_published_schemas_are_all_there_are(self) -> None:
        names = {json.loads(text)["name"] for text in written_schemas().values()}
        assert names == {record_type.__name__ for record_type in RECORD_TYPES}

    def test_an_unknown_fingerprint_is_named_and_can_be_learnt(self) -> None:
        codec = Codec()
        text = newer_query_schema()
        fingerprint = Codec().learn(text)
        payload = (
            b"\xc3\x01"
            + bytes.fromhex(fingerprint)
            + written_with(text, {**as_datum(QUERY), "mood": "curious"})
        )
        with pytest.raises(UnknownSchema) as caught:
            codec.decode(Query, payload)
        assert caught.value.fingerprint == fingerprint
        assert not codec.knows(fingerprint)

        assert codec.learn(text) == fingerprint
        assert codec.knows(fingerprint)
        assert codec.decode(Query, payload) == QUERY

    def test_a_record_of_another_type_is_refused_though_its_fields_would_do(self) -> None:
        codec = Codec()
        payload = codec.encode(Cancel("q-1"))
        with pytest.raises(MalformedRecord, match="is a Cancel, expected was a Query"):
            codec.decode(Query, payload)


class TestConfluentsWireFormat:
    def test_an_unknown_id_is_named_and_can_be_looked_up(self) -> None:
        text = newer_query_schema()
        codec = Codec(lookup=OneSchema(text))
        payload = b"\0" + (500).to_bytes(4, "big") + written_with(text, as_datum(QUERY))
        with pytest.raises(UnknownSchema) as caught:
            codec.decode(Query, payload)
        assert caught.value.schema_id == 500

        assert codec.look_up(caught.value)
        assert codec.decode(Query, payload) == QUERY

    def test_an_id_that_the_registry_does_not_know_stays_unknown(self) -> None:
        codec = Codec(lookup=OneSchema(newer_query_schema()))
        assert not codec.look_up(UnknownSchema(schema_id=501))

    def test_nothing_is_looked_up_without_a_registry(self) -> None:
        assert not Codec().look_up(UnknownSchema(schema_id=500))
        assert not Codec(lookup=OneSchema("")).look_up(UnknownSchema("00"))


class TestJson:
    @pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n"])
    @pytest.mark.parametrize("after", [b"", b"\n"])
    def test_a_line_typed_into_kcat_is_a_query(self, before: bytes, after: bytes) -> None:
        payload = before + b'{"prompt":"hi"}' + after
        assert Codec().decode(Query, payload) == Query(prompt="hi")

    def test_unknown_fields_are_ignored_and_null_is_a_missing_field(self) -> None:
        payload = b'{"prompt":"hi", "colour":"blue", "sampling":null, "priority":null}'
        assert Codec().decode(Query, payload) == Query(prompt="hi")

    @pytest.mark.parametrize(
        ("written", "milliseconds"),
        [
            ('"2026-03-01T12:00:00Z"', 1772366400000),
            ('"2026-03-01T13:00:00.5+01:00"', 1772366400500),
            ('"2026-03-01T12:00:00.123999"', 1772366400123),
            ("1772366400123", 1772366400123),
            ("1772366400123.9", 1772366400123),
        ],
    )
    def test_times_are_iso_8601_or_milliseconds(self, written: str, milliseconds: int) -> None:
        query = Codec().decode(Query, f'{{"created_at": {written}}}'.encode())
        assert query.created_at is not None
        assert round(query.created_at.timestamp() * 1000) == milliseconds

    @pytest.mark.parametrize(
        ("payload", "field"),
        [
            ('{"prompt": 5}', "prompt"),
            ('{"priority": "high"}', "priority"),
            ('{"priority": 5.0}', "priority"),
            ('{"priority": true}', "priority"),
            ('{"priority": 2147483648}', "priority"),
            ('{"sampling": {"seed": 9223372036854775808}}', "sampling.seed"),
            ('{"sampling": {"seed": 123456789012345678901234567890}}', "sampling.seed"),
            ('{"sampling": {"temperature": "warm"}}', "sampling.temperature"),
            ('{"sampling": {"stop": "now"}}', "sampling.stop"),
            ('{"sampling": {"stop": ["a", 1]}}', "sampling.stop[1]"),
            ('{"sampling": []}', "sampling"),
            ('{"stream": "yes"}', "stream"),
            ('{"messages": {"role": "user"}}', "messages"),
            ('{"messages": [{"role": "user", "content": "a"}, 3]}', "messages[1]"),
            ('{"messages": [{"role": "user"}]}', "messages[0].content"),
            ('{"context": {"a": 1}}', "context.a"),
            ('{"context": "a"}', "context"),
            ('{"reply_to": {"partition": 1}}', "reply_to.topic"),
            ('{"created_at": "yesterday"}', "created_at"),
            ('{"created_at": 1e300}', "created_at"),
            ('{"created_at": true}', "created_at"),
        ],
    )
    def test_a_wrong_type_is_refused_by_the_fields_name(self, payload: str, field: str) -> None:
        with pytest.raises(InvalidField) as caught:
            Codec().decode(Query, payload.encode())
        assert caught.value.field == field
        assert caught.value.category == "invalid_request"

    def test_a_missing_field_is_named(self) -> None:
        with pytest.raises(InvalidField, match="query_id: is missing"):
            Codec().decode(Cancel, b"{}")

    @pytest.mark.parametrize("text", ["?", "ä", "a"])
    def test_bytes_that_are_no_base64_are_refused(self, text: str) -> None:
        metrics = {"adapter_id": "a", "adapter_version": "1", "source_partition": 0}
        times = {"window_start": 0, "window_end": 1}
        with pytest.raises(InvalidField, match="sketch"):
            Codec().decode(
                RECORD_TYPES[-1], json.dumps({**metrics, **times, "sketch": text}).encode()
            )

    @pytest.mark.parametrize(
        "payload",
        [
            b"{",
            b'{"prompt": NaN}',
            b'{"prompt": "hi"} {"prompt": "there"}',
            b'{"prompt": "\xff"}',
            b'{"prompt": "\\ud800"}',
            b'{"sampling": {"temperature": 1e999}}',
            b'{"a":' * 100_000,
            b'{"context":' + b"[" * 100_000,
        ],
        ids=[
            "cut short",
            "NaN",
            "two objects",
            "no UTF-8",
            "half a surrogate pair",
            "infinity",
            "deeply nested objects",
            "deeply nested lists",
        ],
    )
    def test_broken_json_is_a_malformed_record(self, payload: bytes) -> None:
        with pytest.raises(MalformedRecord):
            Codec().decode(Query, payload)

    @times(50)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["prompt", "messages", "sampling", "seed", "role", "stop"]),
                    inner,
                    max_size=4,
                )
            ),
        )
    )
    def test_any_json_is_a_query_or_a_decode_error(self, value: Any) -> None:
        with suppress(DecodeError):
            assert isinstance(Codec().decode(Query, json.dumps(value).encode()), Query)

    def test_a_parsed_object_can_be_read_as_well(self) -> None:
        assert read_value(Cancel, {"query_id": "q-1"}) == Cancel("q-1")


class TestBrokenRecords:
    @pytest.mark.parametrize(
        "payload",
        [b"", b"hello", b"[1]", b'"text"', b"\xc3", b"\xc3\x01", b"\xc3\x01abc", b"\0", b"\0abc"],
    )
    def test_what_is_in_no_encoding_is_malformed(self, payload: bytes) -> None:
        with pytest.raises(MalformedRecord):
            Codec().decode(Query, payload)

    def test_a_record_cut_short_anywhere_is_malformed(self) -> None:
        codec = Codec()
        payload = codec.encode(InferenceRequest(QUERY, Routing(), Origin("queries", 0, 1)))
        for length in range(len(payload)):
            with pytest.raises(MalformedRecord):
                codec.decode(InferenceRequest, payload[:length])

    def test_bytes_after_the_record_are_refused(self) -> None:
        codec = Codec()
        with pytest.raises(MalformedRecord, match="3 bytes follow"):
            codec.decode(Query, codec.encode(QUERY) + b"abc")

    @pytest.mark.parametrize("length", [2**20, 2**31, 2**40, 2**62, -1, -(2**62)])
    def test_a_wild_length_prefix_is_refused_without_reading_on(self, length: int) -> None:
        zigzag = (length << 1) ^ (length >> 63)
        prefix = bytearray()
        while zigzag > 0x7F:
            prefix.append(zigzag & 0x7F | 0x80)
            zigzag >>= 7
        prefix.append(zigzag)
        header = Codec().encode(QUERY)[:10]
        with pytest.raises(MalformedRecord):
            Codec().decode(Query, header + b"\x02" + bytes(prefix) + b"abc")
        no_id_no_prompt = b"\0\0"
        with pytest.raises(MalformedRecord):
            Codec().decode(Query, header + no_id_no_prompt + bytes(prefix) + b"abc")

    def test_text_that_is_no_utf_8_is_refused(self) -> None:
        payload = Codec().encode(Query(prompt="abc")).replace(b"abc", b"a\xffc")
        with pytest.raises(MalformedRecord):
            Codec().decode(Query, payload)

    def test_an_int_that_could_not_be_written_again_is_refused(self) -> None:
        as_long = SCHEMAS[Query].text.replace('"int"', '"long"')
        body = written_with(as_long, {**as_datum(QUERY), "priority": 2**31})
        with pytest.raises(MalformedRecord, match="2147483648 does not fit an int"):
            Codec().decode(Query, b"\xc3\x01" + SCHEMAS[Query].fingerprint + body)

    def test_a_time_beyond_the_calendar_is_refused(self) -> None:
        body = written_with(
            SCHEMAS[Cancel].text, {"query_id": "q", "reason": None, "created_at": 2**60}
        )
        with pytest.raises(MalformedRecord):
            Codec().decode(Cancel, b"\xc3\x01" + SCHEMAS[Cancel].fingerprint + body)

    @every_type
    def test_a_mutated_record_is_a_record_or_a_decode_error(
        self, record_type: type[Record]
    ) -> None:
        codec = Codec(ids=IDS)
        plain = Codec()

        @times(60)
        @given(records(record_type), st.booleans(), mutations)
        def check(record: Record, confluent: bool, edits: list[tuple[int, int, bytes]]) -> None:
            payload = bytearray((codec if confluent else plain).encode(record))
            for place, deleted, inserted in edits:
                start = place % (len(payload) + 1)
                payload[start : start + deleted] = inserted
            try:
                decoded = codec.decode(record_type, bytes(payload))
            except DecodeError:
                return
            plain.encode(decoded)

        check()

    @every_type
    def test_any_bytes_are_a_record_or_a_decode_error(self, record_type: type[Record]) -> None:
        codec = Codec(ids=IDS)
        headers = st.sampled_from(
            [
                b"",
                b"{",
                b"\xc3\x01" + SCHEMAS[record_type].fingerprint,
                b"\xc3\x01",
                b"\0\0\0\0\x07",
            ]
        )

        @times(50)
        @given(headers, st.binary(max_size=60))
        def check(header: bytes, body: bytes) -> None:
            with suppress(DecodeError):
                codec.decode(record_type, header + body)

        check()


class TestSizes:
    @pytest.mark.parametrize("make", [to_json, lambda query: None], ids=["JSON", "Avro"])
    def test_a_prompt_of_10_mb_is_refused_with_both_sizes(self, make: Any) -> None:
        query = Query(prompt="x" * 10_000_000)
        text = make(query)
        payload = text.encode() if text else Codec(max_query_bytes=2**30).encode(query)
        with pytest.raises(RecordTooLarge) as caught:
            Codec().decode(Query, payload)
        assert caught.value.size == len(payload)
        assert caught.value.limit == 1024 * 1024
        assert str(len(payload))[:2] in str(caught.value)

    def test_a_query_that_no_broker_would_take_is_refused_when_written(self) -> None:
        with pytest.raises(RecordTooLarge):
            Codec().encode(Query(prompt="x" * 10_000_000))

    def test_the_largest_query_fits_its_request_and_response(self) -> None:
        codec = Codec()
        query = Query(prompt="x" * (1024 * 1024 - 100))
        assert codec.decode(Query, codec.encode(query)) == query
        codec.encode(InferenceRequest(query, Routing(), Origin("queries", 0, 1)))
        codec.encode(
            Response(query_id="q", status="ok", text=query.prompt, origin=Origin("q", 0, 1))
        )


class TestLearning:
    def test_the_schemas_of_all_released_versions_are_known(self) -> None:
        codec = Codec()
        for path in FOLDER.glob("released/*/*.avsc"):
            assert codec.knows(Codec().learn(path.read_text()))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "5",
            '"int"',
            '"nonsense"',
            '{"type": "record"}',
            '{"type": "record", "name": "A", "fields": [{"name": "x", "type": "unheard"}]}',
            '{"type": "enum", "name": "A", "symbols": ["B"]}',
            "[" * 100_000,
            '{"type": "record", "name": "A", "fields": [{"name": "\\udfff", "type": "int"}]}',
            '{"type": "record", "name": "A", "fields": [{"name": "a", "type": "\\udfff"}]}',
        ],
    )
    def test_what_is_no_schema_of_a_record_is_refused(self, text: str) -> None:
        with pytest.raises(DecodeError) as raised:
            Codec().learn(text)
        assert str(raised.value).encode()

    @pytest.mark.parametrize(
        "fields",
        [
            [{"name": "next", "type": ["null", "Query"]}],
            [{"name": "many", "type": {"type": "array", "items": "Query"}}],
            [{"name": "nothing", "type": "null"}],
            [{"name": "many", "type": {"type": "array", "items": "null"}}],
            [],
        ],
        ids=["recursive", "recursive list", "no bytes", "list of nothing", "no fields"],
    )
    def test_a_schema_that_could_be_read_without_end_is_refused(self, fields: Any) -> None:
        schema = {"type": "record", "name": "Query", "fields": fields}
        with pytest.raises(MalformedRecord):
            Codec().learn(json.dumps(schema))

    def test_a_schema_that_does_not_fit_is_a_malformed_record(self) -> None:
        codec = Codec()
        text = json.dumps(
            {
                "type": "record",
                "name": "Query",
                "fields": [{"name": "prompt", "type": {"type": "array", "items": "int"}}],
            }
        )
        fingerprint = codec.learn(text)
        body = written_with(text, {"prompt": [1, 2]})
        with pytest.raises(MalformedRecord):
            codec.decode(Query, b"\xc3\x01" + bytes.fromhex(fingerprint) + body)


def as_datum(query: Query) -> dict[str, Any]:
    datum: dict[str, Any] = json.loads(to_json(query))
    return datum
