"""A database, and metric windows on a topic."""

import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from schemas.codec import Codec
from schemas.records import AdapterMetrics, Response, Timing, Usage
from schemas.records import Origin as Place
from schemas.topics import Topics
from streams.telemetry.tally import Tally
from tests.integration.kafka.cluster import Cluster
from tests.integration.sink.postgres import Postgres, running_postgres

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = timedelta(seconds=10)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one test."""

    server: Postgres
    name: str
    address: str

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.server.connected(self.name) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def execute(self, statement: str) -> None:
        with self.server.connected(self.name) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


@pytest.fixture
def database(postgres: Postgres) -> Database:
    name = f"test-{uuid.uuid4().hex[:12]}"
    return Database(postgres, name, postgres.create_database(name))


class Windows:
    """Writes records as a router's metrics agent does, and remembers them."""

    def __init__(self, cluster: Cluster, topics: Topics) -> None:
        self._cluster = cluster
        self._topic = topics.metrics
        self._random = random.Random(1)
        self._codec = Codec()
        self.written: list[AdapterMetrics] = []

    def write(self, partition: int, records: list[AdapterMetrics]) -> None:
        values = [self._codec.encode(record) for record in records]
        self._cluster.produce(self._topic, values, partition=partition)
        self.written += records

    def record(self, adapter: str, window: int, source_partition: int = 0) -> AdapterMetrics:
        """A window of some responses, some of them errors, as long as chance will have it."""
        tally = Tally()
        for _ in range(self._random.randint(1, 8)):
            tally.add(self._response())
        start = START + window * WINDOW
        return tally.record(adapter, source_partition, start, start + WINDOW)

    def fill(self, count: int) -> None:
        """So many records of three adapters, one of them in two versions, on all partitions."""
        adapters = ("legal-qa-v1@1.0.0", "legal-qa-v1@1.1.0", "medical-v1@1.0.0", "base")
        for partition in range(4):
            self.write(
                partition,
                [
                    self.record(adapters[i % len(adapters)], i // len(adapters), partition)
                    for i in range(count // 4)
                ],
            )

    def _response(self) -> Response:
        return Response(
            query_id="q",
            status=self._random.choice(["ok", "ok", "ok", "error"]),  # type: ignore[arg-type]
            origin=Place("queries", 0, 0),
            usage=Usage(7, 11),
            timing=Timing(total_ms=self._random.lognormvariate(4, 1)),
        )


@pytest.fixture
def windows(kafka: str, live_topics: Topics) -> Windows:
    return Windows(Cluster(kafka), live_topics)


def without_spaces(text: str) -> str:
    return re.sub(r"\s+", " ", text)
