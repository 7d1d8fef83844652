"""The tables of the sink, and whether one that is there already will do.

adapter_metrics          a row per adapter id and window, for whoever watches
adapter_version_metrics  a row per version and window, with the sketch that others merge into
adapter_metrics_offsets  how far each partition of the metrics topic is in the rows
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier

from schemas.errors import ConfigurationError

_TEXT: Final = ("text", "character varying")
_TIME: Final = ("timestamp with time zone", "timestamp without time zone")
_WHOLE: Final = ("bigint", "integer", "numeric")
_REAL: Final = ("double precision", "real", "numeric")
_BYTES: Final = ("bytea",)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the types that will do for it; it is made with the first."""

    types: tuple[LiteralString, ...]
    is_nullable: bool = False

    @property
    def definition(self) -> SQL:
        return SQL(self.types[0]) if self.is_nullable else SQL(self.types[0] + " NOT NULL")


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is made, and what it needs to have where somebody else has made it."""

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]

    def create(self) -> Composed:
        """The statement that makes it."""
        columns = [SQL(" ").join([Identifier(n), c.definition]) for n, c in self.columns.items()]
        return SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
            Identifier(self.name), SQL(", ").join(columns), _names(self.key)
        )

    def upsert(self) -> Composed:
        """The statement that writes a row, over the one of the same key; it takes all columns."""
        return SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}").format(
            Identifier(self.name),
            _names(self.columns),
            SQL(", ").join(SQL("%s") for _ in self.columns),
            _names(self.key),
            SQL(", ").join(
                SQL("{0} = EXCLUDED.{0}").format(Identifier(name))
                for name in self.columns
                if name not in self.key
            ),
        )

    def problems(self, found: "FoundTable") -> list[str]:
        """What the one that is there lacks, each as half a sentence."""
        if not found.is_table:
            return ["it is no table"]
        problems = [
            problem
            for name, column in self.columns.items()
            if (problem := _problem(name, column, found.columns.get(name)))
        ]
        problems += [
            f"its column {name} must be given a value"
            for name, column in found.columns.items()
            if name not in self.columns and not (column.is_nullable or column.has_default)
        ]
        if set(self.key) not in found.unique:
            names = ", ".join(f'"{name}"' for name in self.key)
            problems.append(
                f"it lacks the upsert's key (ALTER TABLE {self.name} ADD UNIQUE ({names}))"
            )
        return problems


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column that is there."""

    type: str
    is_nullable: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table, or something else of its name, that is there, and its unique keys."""

    is_table: bool = True
    columns: Mapping[str, FoundColumn] = field(default_factory=dict)
    unique: Sequence[set[str]] = ()


def _problem(name: str, wanted: Column, found: FoundColumn | None) -> str | None:
    if found is None:
        return f"it has no column {name} ({wanted.types[0]})"
    if found.type not in wanted.types:
        return f"its column {name} is {found.type}, not {wanted.types[0]}"
    if wanted.is_nullable and not found.is_nullable:
        return f"its column {name} must take NULL, for a window without a timed response"
    return None


def _names(names: Any) -> Composed:
    return SQL(", ").join(Identifier(name) for name in names)


_FIGURES: Final = {
    "num_requests": Column(_WHOLE),
    "avg_latency_ms": Column(_REAL, is_nullable=True),
    "p95_latency_ms": Column(_REAL, is_nullable=True),
    "error_rate": Column(_REAL),
    "throughput_qps": Column(_REAL),
}

BY_ADAPTER: Final = Table(
    "adapter_metrics",
    ("adapter_id", "timestamp"),
    {"adapter_id": Column(_TEXT), "timestamp": Column(_TIME), **_FIGURES},
)
BY_VERSION: Final = Table(
    "adapter_version_metrics",
    ("adapter_id", "adapter_version", "timestamp"),
    {
        "adapter_id": Column(_TEXT[:1]),
        "adapter_version": Column(_TEXT[:1]),
        "timestamp": Column(_TIME[:1]),
        "window_end": Column(_TIME[:1]),
        **_FIGURES,
        "num_errors": Column(_WHOLE),
        "p50_latency_ms": Column(_REAL, is_nullable=True),
        "p99_latency_ms": Column(_REAL, is_nullable=True),
        "p50_first_token_ms": Column(_REAL, is_nullable=True),
        "p95_first_token_ms": Column(_REAL, is_nullable=True),
        "p50_queue_ms": Column(_REAL, is_nullable=True),
        "p95_queue_ms": Column(_REAL, is_nullable=True),
        "prompt_tokens": Column(_WHOLE),
        "completion_tokens": Column(_WHOLE),
        "sketch": Column(_BYTES),
    },
)
OFFSETS: Final = Table(
    "adapter_metrics_offsets",
    ("topic_id", "partition"),
    {
        "topic_id": Column(_TEXT[:1]),
        "partition": Column(("integer",)),
        "next_offset": Column(("bigint",)),
        "topic": Column(_TEXT[:1]),
    },
)


async def create_missing(connection: AsyncConnection[Any]) -> list[str]:
    """Makes the tables that are not there; their names. Within the caller's transaction.

    Raises ConfigurationError where one is there in another shape: it is never altered.
    """
    made = []
    for table in (BY_ADAPTER, BY_VERSION, OFFSETS):
        found = await _find(connection, table.name)
        if found is None:
            await connection.execute(table.create())
            made.append(table.name)
        elif problems := table.problems(found):
            raise ConfigurationError(
                f"The table {table.name} is there, but in another shape: {'; '.join(problems)}. "
                "Nothing was changed: alter or rename it, or name a database or a search_path "
                "(?options=-csearch_path%3DNAME) without it."
            )
    return made


async def _find(connection: AsyncConnection[Any], name: str) -> FoundTable | None:
    cursor = await connection.execute(
        "SELECT oid, relkind FROM pg_class WHERE oid = to_regclass(%s)", [name]
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    oid, kind = row
    columns = await connection.execute(
        """
        SELECT attname, format_type(atttypid, NULL), NOT attnotnull,
               atthasdef OR attidentity <> ''
        FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
        """,
        [oid],
    )
    unique = await connection.execute(
        """
        SELECT array_agg(attname::text)
        FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
        WHERE indrelid = %s AND indisunique AND indimmediate AND indisvalid
          AND indpred IS NULL AND indexprs IS NULL
        GROUP BY indexrelid
        """,
        [oid],
    )
    return FoundTable(
        kind in ("r", "p"),
        {name: FoundColumn(*rest) for name, *rest in await columns.fetchall()},
        [set(names) for (names,) in await unique.fetchall()],
    )
