import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas.conversion import Converter
from schemas.definitions import FOLDER, record_class
from schemas.records import RECORD_TYPES, Record

FILES = sorted(FOLDER.rglob("*.avsc"))
CURRENT = sorted(FOLDER.glob("*.avsc"))


def nested_records(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for branch in schema:
            yield from nested_records(branch)
    elif isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
            for field in schema["fields"]:
                yield from nested_records(field["type"])
        else:
            yield from nested_records(schema.get("items", schema.get("values")))


def tree_of(path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return tree


by_name = pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")


def test_each_record_type_has_a_file_of_its_name() -> None:
    assert [path.stem for path in CURRENT] == sorted(kind.__name__ for kind in RECORD_TYPES)


@by_name
def test_a_file_is_a_valid_schema_by_itself(path: Path) -> None:
    tree = tree_of(path)
    parse_schema(tree)
    assert (tree["namespace"], tree["name"]) == ("lorelay", path.stem)


@by_name
def test_every_record_and_field_is_documented(path: Path) -> None:
    for record in nested_records(tree_of(path)):
        assert record["doc"].endswith("."), record["name"]
        for field in record["fields"]:
            assert field["doc"].endswith("."), f"{record['name']}.{field['name']}"


def test_a_record_is_the_same_wherever_it_is_spelt_out() -> None:
    spelt: dict[str, dict[str, Any]] = {}
    for path in CURRENT:
        for record in nested_records(tree_of(path)):
            bare = {key: value for key, value in record.items() if key != "namespace"}
            assert spelt.setdefault(record["name"], bare) == bare


@pytest.mark.parametrize(
    "schema",
    {r["name"]: r for path in CURRENT for r in nested_records(tree_of(path))}.values(),
    ids=lambda schema: schema["name"],
)
def test_a_dataclass_has_the_fields_and_defaults_of_its_schema(schema: Any) -> None:
    record_type = record_class(schema["name"])
    wanted = {field["name"]: field for field in schema["fields"]}
    assert [field.name for field in fields(record_type)] == list(wanted)
    defaults = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(record_type)
        if (field.default, field.default_factory) != (MISSING, MISSING)
    }
    assert set(defaults) == {name for name, field in wanted.items() if "default" in field}
    for name, default in defaults.items():
        assert as_json(default) == wanted[name]["default"], name


def as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, tuple):
        return list(value)
    if hasattr(value, "__dataclass_fields__"):
        tree = next(
            record
            for path in CURRENT
            for record in nested_records(tree_of(path))
            if record["name"] == type(value).__name__
        )
        return Converter().to_dict(tree)(value) | {
            field.name: list(getattr(value, field.name))
            for field in fields(value)
            if isinstance(getattr(value, field.name), tuple)
        }
    return value


@pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_a_field_that_may_be_missing_stays_so(record_type: type[Record]) -> None:
    """Only these fields have no default; a further one would break FULL_TRANSITIVE."""
    required = {
        "Query": [],
        "Cancel": ["query_id"],
        "Feedback": ["query_id"],
        "InferenceRequest": ["query", "routing", "origin"],
        "Response": ["query_id", "status", "origin"],
        "Chunk": ["query_id", "origin", "sequence"],
        "AdapterVersion": [
            "adapter_id",
            "adapter_version",
            "family",
            "domain",
            "task_type",
            "base_model",
        ],
        "ExampleSet": ["adapter_id", "adapter_version"],
        "Traffic": ["family"],
        "LifecycleEvent": ["family", "event"],
        "WorkerState": ["worker_id", "base_model"],
        "AdapterMetrics": [
            "adapter_id",
            "adapter_version",
            "source_partition",
            "window_start",
            "window_end",
        ],
    }
    tree = tree_of(FOLDER / f"{record_type.__name__}.avsc")
    without = [field["name"] for field in tree["fields"] if "default" not in field]
    assert without == required[record_type.__name__]


@pytest.mark.parametrize(
    ("canonical", "expected"),
    [
        ('"null"', 0x63DD24E7CC258F8A),
        ('"int"', 0x7275D51A3F395C8F),
        ('"string"', 0x8F014872634503C7),
        ('{"name":"foo","type":"fixed","size":15}', 1756455273707447556),
    ],
)
def test_fingerprints_are_those_of_avros_own_test_suite(canonical: str, expected: int) -> None:
    """share/test/data/schema-tests.txt of Apache Avro; ours go on the wire little-endian."""
    assert fingerprint(canonical, "CRC-64-AVRO") == expected.to_bytes(8, "little").hex()


def test_the_canonical_form_names_nested_records_in_full_and_keeps_nothing_else() -> None:
    canonical = to_parsing_canonical_form(tree_of(FOLDER / "Chunk.avsc"))
    start = '{"name":"lorelay.Chunk","type":"record","fields":[{"name":"query_id","type":"string"},'
    origin = '{"name":"origin","type":{"name":"lorelay.Origin","type":"record","fields":['
    assert canonical.startswith(start + origin)
    assert not {"doc", "default", "logicalType", "namespace"} & set(canonical.split('"'))
