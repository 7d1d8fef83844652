"""Records become rows, and rows become records again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from schemas.records import AdapterMetrics, Origin, Response, Timing
from streams.sink.rows import adapter_row, by_adapter, by_version, from_version_row, version_row
from streams.telemetry.tally import MERGED_PARTITIONS, Tally

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEN = timedelta(seconds=10)


def record(
    adapter: str, partition: int, *durations: float, start: datetime = START
) -> AdapterMetrics:
    tally = Tally()
    for ms in durations:
        timing = Timing(total_ms=ms)
        tally.add(
            Response(query_id="q", status="ok", timing=timing, origin=Origin("queries", 0, 0))
        )
    return tally.record(adapter, partition, start, start + TEN)


def test_a_version_has_one_row_for_the_window_of_all_partitions() -> None:
    records = [record("a-v1@1.0.0", 0, 10, 20), record("a-v1@1.0.0", 3, 30)]
    (row,) = by_version(records)
    assert (row.num_requests, row.avg_latency_ms, row.throughput_qps) == (3, 20.0, 0.3)


def test_an_adapter_id_has_one_row_for_the_window_of_all_its_versions() -> None:
    records = [
        record("a-v1@1.0.0", 0, 10, 20),
        record("a-v1@1.1.0", 0, 30),
        record("b-v1@1.0.0", 0, 40),
        record("a-v1@1.0.0", 0, 50, start=START + TEN),
    ]
    rows = by_adapter(records)
    assert [(row.adapter_id, row.window_start, row.num_requests) for row in rows] == [
        ("a-v1", START, 3),
        ("a-v1", START + TEN, 1),
        ("b-v1", START, 1),
    ]


def test_a_row_of_a_version_can_be_added_to_later() -> None:
    (written,) = by_version([record("a-v1@1.0.0", 0, 10, 20)])
    read = from_version_row(version_row(written))
    assert read == replace(written, source_partition=MERGED_PARTITIONS)
    (together,) = by_version([read, record("a-v1@1.0.0", 1, 30)])
    assert together.num_requests == 3
    assert together.avg_latency_ms == 20.0


def test_a_row_of_an_adapter_is_what_its_readers_know() -> None:
    (row,) = by_adapter([record("a-v1@1.0.0", 2, 10)])
    adapter_id, timestamp, count, mean, p95, errors, per_second = adapter_row(row)
    assert (adapter_id, timestamp, count, mean, errors) == ("a-v1", START, 1, 10.0, 0.0)
    assert p95 == row.p95_latency_ms
    assert per_second == 0.1
