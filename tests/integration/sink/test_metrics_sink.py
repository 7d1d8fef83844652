"""`lorelay metrics sink`, as its user runs it: a process, a broker, a PostgreSQL server."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from schemas.records import AdapterMetrics
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from streams.telemetry.tally import merge
from tests.chaos.fleet import ROOT
from tests.chaos.preloaded import PreloadedCommand
from tests.integration.kafka.cluster import Cluster
from tests.integration.sink.conftest import START, Database, Windows, without_spaces
from tests.integration.sink.postgres import PASSWORD

_SECONDS = 60.0
SEEDS_TABLE = """
    CREATE TABLE adapter_metrics (
        adapter_id varchar(255) NOT NULL,
        timestamp timestamp NOT NULL,
        num_requests integer,
        avg_latency_ms real,
        p95_latency_ms real,
        error_rate real,
        throughput_qps real,
        note text DEFAULT 'theirs',
        PRIMARY KEY (timestamp, adapter_id)
    )
"""
SUMS = "SELECT sum(num_requests), sum(num_errors), sum(completion_tokens) FROM {}"


class Sinks:
    """The commands of a test; what still runs at its end is killed."""

    def __init__(self, settings: KafkaSettings, database: Database) -> None:
        self._database = database
        self._environment = {
            k: v for k, v in os.environ.items() if not k.startswith("LORELAY_")
        } | {
            "LORELAY_KAFKA": settings.kafka,
            "LORELAY_TOPIC_PREFIX": settings.topic_prefix,
            "PGPASSWORD": PASSWORD,
            "COLUMNS": "300",
        }
        self._started: list[PreloadedCommand] = []

    def start(self, *options: str, **variables: str) -> PreloadedCommand:
        command = ["metrics", "sink", *options]
        sink = PreloadedCommand(command, self._environment | variables, ROOT)
        self._started.append(sink)
        return sink

    def follow(self) -> PreloadedCommand:
        return self.start(self._database.address)

    def catch_up(self) -> str:
        """Runs it to the end of the topic; what it says."""
        status, said = self.end(self.start(self._database.address, "--once"))
        assert status == 0, said
        return said

    @staticmethod
    def end(sink: PreloadedCommand) -> tuple[int, str]:
        done = sink.completed(_SECONDS)
        return done.returncode, without_spaces(done.stdout + done.stderr)

    def close(self) -> None:
        for sink in self._started:
            sink.close()


@pytest.fixture
def sinks(kafka_settings: KafkaSettings, database: Database) -> Iterator[Sinks]:
    running = Sinks(kafka_settings, database)
    yield running
    running.close()


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not found():
        assert time.monotonic() < deadline, "never came"


def expected(records: list[AdapterMetrics]) -> dict[tuple[str, datetime], AdapterMetrics]:
    """What one who reads the whole topic makes of it, by adapter id and window."""
    groups = defaultdict(list)
    for record in records:
        key = record.adapter_id, record.window_start
        groups[key].append(replace(record, adapter_version=""))
    return {key: merge(group) for key, group in groups.items()}


def assert_complete(database: Database, windows: Windows) -> None:
    """Every row is what all records together make, and there is no other."""
    wanted = expected(windows.written)
    rows = database.rows(
        "SELECT adapter_id, timestamp, num_requests, avg_latency_ms, p95_latency_ms, error_rate,"
        " throughput_qps FROM adapter_metrics"
    )
    assert {row[:2] for row in rows} == set(wanted)
    for adapter_id, start, *figures in rows:
        record = wanted[str(adapter_id), start]  # type: ignore[index]
        assert figures == pytest.approx(
            [
                record.num_requests,
                record.avg_latency_ms,
                record.p95_latency_ms,
                record.error_rate,
                record.throughput_qps,
            ]
        )
    (sums,) = database.rows(SUMS.format("adapter_version_metrics"))
    assert sums == (
        sum(record.num_requests for record in windows.written),
        sum(record.num_errors for record in windows.written),
        sum(record.completion_tokens for record in windows.written),
    )


def test_a_row_adds_up_all_partitions_and_versions_of_a_window(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    windows.fill(160)
    said = sinks.catch_up()
    assert "160 records written" in said
    assert "made the tables adapter_metrics" in said
    assert_complete(database, windows)
    # A window that a late response made a further record of, and one that came later.
    windows.write(2, [windows.record("base", 0, 1), windows.record("base", 500, 1)])
    assert "2 records written" in sinks.catch_up()
    assert "0 records written" in sinks.catch_up()
    assert_complete(database, windows)


def test_kills_and_sinks_side_by_side_count_nothing_twice_and_lose_nothing(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    sinks.catch_up()
    cut_short = []
    for _ in range(3):
        (before,) = database.rows(SUMS.format("adapter_version_metrics"))
        both = [sinks.follow(), sinks.follow()]
        windows.fill(4000)
        # In the middle of it: some is written, and far from all.
        until(lambda b=before: database.rows(SUMS.format("adapter_version_metrics")) != [b])  # type: ignore[misc]
        for sink in both:
            sink.kill()
            sink.wait()
        (after,) = database.rows(SUMS.format("adapter_version_metrics"))
        cut_short.append(after[0] < sum(record.num_requests for record in windows.written))  # type: ignore[operator]
    assert any(cut_short)
    sinks.catch_up()
    assert_complete(database, windows)


def test_a_database_that_goes_away_is_waited_for(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    sink = sinks.follow()
    windows.fill(400)
    until(lambda: bool(database.rows("SELECT to_regclass('adapter_metrics')")[0][0]))
    until(lambda: bool(database.rows("SELECT 1 FROM adapter_metrics")))
    database.server.kill()
    windows.fill(400)
    database.server.start()
    database.server.stop()
    database.server.start()
    windows.fill(400)
    total = sum(record.num_requests for record in windows.written)
    until(lambda: database.rows(SUMS.format("adapter_version_metrics"))[0][0] == total)
    assert_complete(database, windows)
    os.kill(sink.pid, signal.SIGINT)
    status, said = sinks.end(sink)
    assert status == 0
    assert "trying again in 1 s" in said
    assert "1,200 records written" in said
    assert "Traceback" not in said
    assert PASSWORD not in said


def set_read_only(database: Database, on: bool) -> None:
    """As a standby is, and a primary that is one no more; who is connected has to come again."""
    with database.server.connected("postgres") as connection:
        for statement in (
            f'ALTER DATABASE "{database.name}" SET default_transaction_read_only = {on}',
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{database.name}'",
        ):
            connection.execute(statement)  # type: ignore[arg-type]


def test_a_database_that_takes_no_writes_after_a_failover_is_waited_for(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    sink = sinks.follow()
    windows.fill(16)
    until(lambda: bool(database.rows("SELECT to_regclass('adapter_metrics')")[0][0]))
    until(lambda: bool(database.rows("SELECT 1 FROM adapter_metrics")))
    set_read_only(database, True)
    windows.fill(16)
    until(lambda: "read-only transaction" in without_spaces(sink.printed))
    set_read_only(database, False)
    total = sum(record.num_requests for record in windows.written)
    until(lambda: database.rows(SUMS.format("adapter_version_metrics"))[0][0] == total)
    assert_complete(database, windows)
    os.kill(sink.pid, signal.SIGINT)
    status, said = sinks.end(sink)
    assert status == 0
    assert "refuses" not in said


def test_a_database_that_takes_no_writes_at_first_is_not_waited_for(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    windows.fill(16)
    sinks.catch_up()
    set_read_only(database, True)
    status, said = sinks.end(sinks.follow())
    assert status == 2
    assert "can't be used: cannot execute INSERT in a read-only transaction" in said


def test_a_table_as_the_seed_has_it_is_used_as_it_is(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    database.execute(SEEDS_TABLE)
    windows.write(0, [windows.record("base", 0), windows.record("base", 1)])
    assert "made the tables adapter_version_metrics, adapter_metrics_offsets" in sinks.catch_up()
    rows = database.rows("SELECT timestamp, note FROM adapter_metrics ORDER BY timestamp")
    assert rows[0] == (START.replace(tzinfo=None), "theirs")
    assert len(rows) == 2


def test_a_table_of_another_shape_is_refused_and_left_alone(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    database.execute("CREATE TABLE adapter_metrics (adapter_id text, num_requests text)")
    windows.fill(16)
    status, said = sinks.end(sinks.start(database.address))
    assert status == 2
    assert "it has no column timestamp" in said
    assert "its column num_requests is text, not bigint" in said
    assert "ADD UNIQUE" in said
    tables = database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert tables == [("adapter_metrics",)]
    assert database.rows("SELECT * FROM adapter_metrics") == []


def test_a_topic_that_is_made_anew_adds_to_the_rows(
    sinks: Sinks, database: Database, windows: Windows, kafka_settings: KafkaSettings
) -> None:
    windows.fill(80)
    sinks.catch_up()
    topics = kafka_settings.topics
    Cluster(kafka_settings.kafka).delete(topics.metrics)
    made_anew = [spec for spec in topics.specs() if spec.name == topics.metrics]
    asyncio.run(create_topics(kafka_settings, made_anew))
    windows.fill(40)
    assert "40 records written" in sinks.catch_up()
    assert_complete(database, windows)


def test_a_record_that_cannot_be_read_is_named_and_left_out(
    sinks: Sinks, database: Database, windows: Windows, kafka: str, topics: Topics
) -> None:
    windows.fill(16)
    Cluster(kafka).produce(topics.metrics, [b"nonsense"], partition=3)
    windows.fill(16)
    said = sinks.catch_up()
    assert f"{topics.metrics}/3/4: The record is neither Avro" in said
    assert "32 records written" in said and "1 left out" in said
    assert_complete(database, windows)


def test_offsets_that_the_database_has_beyond_the_log_are_an_error(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    windows.fill(16)
    sinks.catch_up()
    database.execute("UPDATE adapter_metrics_offsets SET next_offset = 1000 WHERE partition = 2")
    status, said = sinks.end(sinks.start(database.address, "--once"))
    assert status == 2
    assert "the log was cut off" in said


def test_a_database_that_was_set_back_gets_what_it_lacks(
    sinks: Sinks, database: Database, windows: Windows
) -> None:
    sink = sinks.follow()
    windows.fill(16)
    until(lambda: bool(database.rows("SELECT to_regclass('adapter_metrics_offsets')")[0][0]))
    until(lambda: database.rows("SELECT min(next_offset) FROM adapter_metrics_offsets") == [(4,)])
    database.execute(
        "BEGIN; DELETE FROM adapter_metrics; DELETE FROM adapter_version_metrics;"
        "UPDATE adapter_metrics_offsets SET next_offset = 0; COMMIT"
    )
    windows.fill(16)
    until(lambda: database.rows("SELECT min(next_offset) FROM adapter_metrics_offsets") == [(8,)])
    os.kill(sink.pid, signal.SIGINT)
    assert "set back" in sinks.end(sink)[1]
    assert_complete(database, windows)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql://lorelay:falsch-geheim@127.0.0.1:{port}/x", "password authentication failed"),
        ("postgresql://lorelay:falsch-geheim@127.0.0.1:1/x", "refused"),
        ("postgresql:/lorelay:falsch-geheim@127.0.0.1/x", "no address of a PostgreSQL database"),
    ],
)
def test_what_cannot_be_used_is_told_without_its_password(
    sinks: Sinks, database: Database, live_topics: Topics, address: str, reason: str
) -> None:
    told = address.format(port=database.server.port)
    status, said = sinks.end(sinks.start(LORELAY_POSTGRES=told))
    assert status == 2
    assert reason in said
    assert "falsch-geheim" not in said
    assert "Traceback" not in said
