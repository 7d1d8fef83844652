"""FULL_TRANSITIVE: every version reads every other's records, in both directions."""

import json
from io import BytesIO
from itertools import combinations_with_replacement
from typing import Any, ClassVar

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.validation import validate
from hypothesis import given

from schemas.codec import Codec
from schemas.definitions import FOLDER, RELEASED
from schemas.records import RECORD_TYPES, Record
from tests.unit.schemas.resolution import problems
from tests.unit.schemas.strategies import data, times

NAMES = sorted(record_type.__name__ for record_type in RECORD_TYPES)


def versions(name: str) -> dict[str, Any]:
    """Every version's schema of the record, by folder; the working copy's last."""
    paths = [*sorted(RELEASED.glob(f"*/{name}.avsc")), FOLDER / f"{name}.avsc"]
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in paths}


def pairs() -> list[Any]:
    """Two versions of each record, each pair once; none is left out as FULL alone would."""
    return [
        pytest.param(first, second, id=f"{name} {one} and {other}")
        for name in NAMES
        for (one, first), (other, second) in combinations_with_replacement(
            versions(name).items(), 2
        )
    ]


def test_every_record_has_been_released_with_a_version() -> None:
    assert {path.stem for path in RELEASED.glob("*/*.avsc")} == set(NAMES)


@pytest.mark.parametrize(("first", "second"), pairs())
def test_versions_read_each_other_by_avros_rules(first: Any, second: Any) -> None:
    assert not list(problems(first, second))
    assert not list(problems(second, first))


@pytest.mark.parametrize(("first", "second"), pairs())
def test_versions_read_each_others_records(first: Any, second: Any) -> None:
    check_reading(first, second)
    check_reading(second, first)


def check_reading(written: Any, reader: Any) -> None:
    parsed, reading = parse_schema(without_times(written)), parse_schema(without_times(reader))

    @times(10)
    @given(data(written))
    def check(datum: Any) -> None:
        payload = BytesIO()
        schemaless_writer(payload, parsed, datum)
        payload.seek(0)
        read = schemaless_reader(payload, parsed, reading)
        assert validate(read, reading)
        assert set(read) == {field["name"] for field in reader["fields"]}

    check()


@pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_the_codec_reads_the_records_of_released_versions(record_type: type[Record]) -> None:
    codec = Codec()
    for path in RELEASED.glob(f"*/{record_type.__name__}.avsc"):
        check_decoding(codec, record_type, path.read_text("utf-8"))


def check_decoding(codec: Codec, record_type: type[Record], text: str) -> None:
    tree = json.loads(text)
    header = b"\xc3\x01" + bytes.fromhex(codec.learn(text))
    parsed = parse_schema(without_times(tree))

    @times(10)
    @given(data(tree))
    def check(datum: Any) -> None:
        payload = BytesIO()
        schemaless_writer(payload, parsed, datum)
        assert isinstance(codec.decode(record_type, header + payload.getvalue()), record_type)

    check()


class TestTheRulesThemselves:
    """A check that never fails proves nothing."""

    BEFORE: ClassVar[Any] = {
        "type": "record",
        "name": "Thing",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "size", "type": ["null", "int"], "default": None},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }

    def changed(self, *fields: Any, name: str = "Thing") -> Any:
        return {"type": "record", "name": name, "fields": list(fields)}

    def both_ways(self, after: Any) -> list[str]:
        return [*problems(after, self.BEFORE), *problems(self.BEFORE, after)]

    def test_a_new_field_with_a_default_passes(self) -> None:
        new = {"name": "colour", "type": "string", "default": ""}
        assert not self.both_ways(self.changed(*self.BEFORE["fields"], new))

    def test_a_field_with_a_default_may_go(self) -> None:
        identity, _, time = self.BEFORE["fields"]
        assert not self.both_ways(self.changed(identity, time))

    def test_a_new_field_without_a_default_fails(self) -> None:
        new = {"name": "colour", "type": "string"}
        assert self.both_ways(self.changed(*self.BEFORE["fields"], new))

    def test_a_field_without_a_default_may_not_go(self) -> None:
        _, *rest = self.BEFORE["fields"]
        assert self.both_ways(self.changed(*rest))

    def test_a_renamed_record_fails(self) -> None:
        assert self.both_ways(self.changed(*self.BEFORE["fields"], name="Other"))

    @pytest.mark.parametrize("kind", ["long", "string", "int", ["null", "long"], ["int", "string"]])
    def test_a_changed_type_fails_though_one_direction_would_pass(self, kind: Any) -> None:
        identity, size, time = self.BEFORE["fields"]
        assert self.both_ways(self.changed(identity, {**size, "type": kind}, time))

    def test_a_time_that_becomes_a_number_fails(self) -> None:
        identity, size, time = self.BEFORE["fields"]
        assert self.both_ways(self.changed(identity, size, {**time, "type": "long"}))


def without_times(tree: Any) -> Any:
    """The schema with times as the integers they are on the wire."""
    if isinstance(tree, list):
        return [without_times(branch) for branch in tree]
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key != "logicalType"}
    return tree
