"""The database's side: rows and offsets, in one transaction."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from psycopg import AsyncConnection, IsolationLevel
from psycopg.sql import SQL, Identifier

from schemas.records import AdapterMetrics
from streams.sink.address import DatabaseAddress
from streams.sink.rows import (
    adapter_key,
    adapter_row,
    by_adapter,
    by_version,
    from_version_row,
    version_key,
    version_row,
)
from streams.sink.tables import BY_ADAPTER, BY_VERSION, OFFSETS, create_missing

_CONNECT_SECONDS: Final = 10
#: Of the sinks that share a database only one writes at a time: two would add up the same row.
_LOCK: Final = int.from_bytes(b"lorelay", "big")


@dataclass(frozen=True, slots=True)
class Topic:
    """The metrics topic; its id is another one when it is made anew, or on another cluster."""

    name: str
    id: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A partition's records from offset ``start`` up to ``end``, each with its offset."""

    start: int
    end: int
    records: Sequence[tuple[int, AdapterMetrics]]


class SetBack(Exception):
    """The database is behind what was read of the topic, as after a restore: read again."""


class MetricsStore:
    """A connection to the tables."""

    def __init__(self, connection: AsyncConnection[Any], made: Sequence[str]) -> None:
        self._connection = connection
        self.made_tables = made

    @classmethod
    @asynccontextmanager
    async def open(cls, address: DatabaseAddress) -> AsyncIterator[Self]:
        """Connects, and makes what tables are missing.

        Raises: ConfigurationError where a table has another shape, psycopg.Error.
        """
        connection = await AsyncConnection.connect(
            address.conninfo,
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            application_name="lorelay metrics sink",
        )
        async with connection:
            # A row that is read after the lock was waited for is the newest one.
            await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
            # For a table of somebody else's whose times have no zone.
            await connection.execute("SET TIME ZONE 'UTC'")
            async with _alone(connection):
                made = await create_missing(connection)
            yield cls(connection, made)

    async def take_up(self, topic: Topic, starts: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        """Where to read on, by partition, and how many offsets before that are gone.

        ``starts`` are the first offsets that the log still has.
        """
        async with _alone(self._connection):
            known = await self._next_offsets(topic)
            found = {number: max(start, known.get(number, 0)) for number, start in starts.items()}
            await self._advance(topic, found)
        return {number: (to, to - known.get(number, to)) for number, to in found.items()}

    async def write(self, topic: Topic, batches: Mapping[int, Batch]) -> list[AdapterMetrics]:
        """Adds records to the rows, and to nothing what is in them already; what was added.

        Raises: SetBack and writes nothing where records in between are missing.
        """
        async with _alone(self._connection):
            known = await self._next_offsets(topic)
            if any(known.get(number, -1) < batch.start for number, batch in batches.items()):
                raise SetBack
            new = [
                record
                for number, batch in batches.items()
                for offset, record in batch.records
                if offset >= known[number]
            ]
            await self._add(new)
            await self._advance(
                topic, {number: max(known[number], batch.end) for number, batch in batches.items()}
            )
        return new

    async def _add(self, records: Iterable[AdapterMetrics]) -> None:
        new = by_version(records)
        if not new:
            return
        there = await self._select(BY_VERSION.key, [version_key(record) for record in new])
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                BY_VERSION.upsert(), [version_row(record) for record in by_version([*there, *new])]
            )
            versions = await self._select(
                BY_ADAPTER.key, sorted({adapter_key(record) for record in new})
            )
            await cursor.executemany(
                BY_ADAPTER.upsert(), [adapter_row(record) for record in by_adapter(versions)]
            )

    async def _select(
        self, key: Sequence[str], values: Sequence[Sequence[object]]
    ) -> list[AdapterMetrics]:
        """The rows of versions with these values in the columns of ``key``."""
        columns = SQL(", ").join(Identifier(name) for name in key)
        arrays = SQL(", ").join(
            SQL("%s::timestamptz[]" if name == "timestamp" else "%s::text[]") for name in key
        )
        cursor = await self._connection.execute(
            SQL("SELECT {} FROM {} WHERE ({}) IN (SELECT * FROM unnest({}))").format(
                SQL(", ").join(Identifier(name) for name in BY_VERSION.columns),
                Identifier(BY_VERSION.name),
                columns,
                arrays,
            ),
            [list(each) for each in zip(*values, strict=True)],
        )
        return [from_version_row(row) for row in await cursor.fetchall()]

    async def _next_offsets(self, topic: Topic) -> dict[int, int]:
        cursor = await self._connection.execute(
            "SELECT partition, next_offset FROM adapter_metrics_offsets WHERE topic_id = %s",
            [topic.id],
        )
        return dict(await cursor.fetchall())

    async def _advance(self, topic: Topic, offsets: Mapping[int, int]) -> None:
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                OFFSETS.upsert(),
                [(topic.id, number, to, topic.name) for number, to in sorted(offsets.items())],
            )


@asynccontextmanager
async def _alone(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """A transaction, once no other sink is in one."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield
