"""Whether a table that is there will do."""

from dataclasses import replace

import pytest

from streams.sink.tables import BY_ADAPTER, BY_VERSION, OFFSETS, FoundColumn, FoundTable, Table


def as_made(table: Table) -> FoundTable:
    return FoundTable(
        columns={
            name: FoundColumn(column.types[0], column.is_nullable, has_default=False)
            for name, column in table.columns.items()
        },
        unique=[set(table.key)],
    )


def with_column(name: str, column: FoundColumn) -> FoundTable:
    found = as_made(BY_ADAPTER)
    return replace(found, columns={**found.columns, name: column})


def test_the_first_table_has_the_columns_that_its_readers_know() -> None:
    assert list(BY_ADAPTER.columns) == [
        "adapter_id",
        "timestamp",
        "num_requests",
        "avg_latency_ms",
        "p95_latency_ms",
        "error_rate",
        "throughput_qps",
    ]


@pytest.mark.parametrize("table", [BY_ADAPTER, BY_VERSION, OFFSETS], ids=lambda table: table.name)
def test_one_that_was_made_here_will_do(table: Table) -> None:
    assert table.problems(as_made(table)) == []


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("num_requests", FoundColumn("integer", is_nullable=True, has_default=False)),
        ("adapter_id", FoundColumn("character varying", is_nullable=False, has_default=False)),
        ("note", FoundColumn("text", is_nullable=True, has_default=False)),
        ("id", FoundColumn("bigint", is_nullable=False, has_default=True)),
    ],
)
def test_narrower_types_and_further_columns_will_do(name: str, column: FoundColumn) -> None:
    assert BY_ADAPTER.problems(with_column(name, column)) == []


@pytest.mark.parametrize(
    ("name", "column", "problem"),
    [
        ("error_rate", FoundColumn("text", True, False), "its column error_rate is text"),
        ("p95_latency_ms", FoundColumn("real", False, False), "must take NULL"),
        ("tenant", FoundColumn("text", False, False), "must be given a value"),
    ],
)
def test_what_would_refuse_a_row_is_a_problem(name: str, column: FoundColumn, problem: str) -> None:
    (found,) = BY_ADAPTER.problems(with_column(name, column))
    assert problem in found


def test_the_upsert_needs_its_key() -> None:
    keyed_otherwise = replace(as_made(BY_ADAPTER), unique=[{"adapter_id"}])
    (found,) = BY_ADAPTER.problems(keyed_otherwise)
    assert 'ADD UNIQUE ("adapter_id", "timestamp")' in found


def test_a_view_is_no_table() -> None:
    assert BY_ADAPTER.problems(FoundTable(is_table=False)) == ["it is no table"]
