"""Figures of windows and partitions merge without loss."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import AdapterMetrics, Origin, Response, Timing, Usage
from streams.telemetry.sketch import RELATIVE_ACCURACY
from streams.telemetry.tally import MERGED_PARTITIONS, Tally, merge, newest

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEGAL = "legal-qa-v1@1.0.0"
SECOND = timedelta(seconds=1)

DURATIONS = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def record_of(
    durations: list[float], partition: int = 0, seconds: float = 0, adapter: str = LEGAL
) -> AdapterMetrics:
    tally = Tally()
    for ms in durations:
        timing = Timing(queue_ms=3.0, first_token_ms=20.0, total_ms=ms)
        tally.add(
            Response(
                query_id="q",
                status="ok",
                usage=Usage(1, 2),
                timing=timing,
                origin=Origin("queries", 0, 0),
            )
        )
    return tally.record(adapter, partition, after(seconds), after(seconds + 10))


def true_quantile(durations: list[float], quantile: float) -> float:
    return sorted(durations)[int(quantile * (len(durations) - 1))]


@given(st.lists(DURATIONS, min_size=1, max_size=5))
def test_merged_quantiles_are_those_of_all_durations_within_the_sketchs_error(
    parts: list[list[float]],
) -> None:
    merged = merge(record_of(part, partition) for partition, part in enumerate(parts))
    everything = [ms for part in parts for ms in part]
    assert merged.num_requests == len(everything)
    assert merged.avg_latency_ms == pytest.approx(sum(everything) / len(everything), rel=1e-6)
    for quantile, value in [
        (0.5, merged.p50_latency_ms),
        (0.95, merged.p95_latency_ms),
        (0.99, merged.p99_latency_ms),
    ]:
        assert value == pytest.approx(
            true_quantile(everything, quantile), rel=RELATIVE_ACCURACY * 1.001
        )


@given(DURATIONS, DURATIONS, DURATIONS)
def test_merging_is_associative_and_its_order_does_not_matter(
    a: list[float], b: list[float], c: list[float]
) -> None:
    one, two, three = record_of(a, 0), record_of(b, 1, 10), record_of(c, 2, 20)
    left = merge([merge([one, two]), three])
    right = merge([one, merge([three, two])])
    for name in ("num_requests", "num_errors", "p50_latency_ms", "p95_latency_ms", "prompt_tokens"):
        assert getattr(left, name) == getattr(right, name)
    assert left.avg_latency_ms == pytest.approx(right.avg_latency_ms)
    assert left.throughput_qps == right.throughput_qps
    assert left.source_partition == right.source_partition == MERGED_PARTITIONS


def test_first_token_and_queue_times_merge_too() -> None:
    merged = merge([record_of([5.0], 0), record_of([7.0], 1)])
    assert merged.p95_first_token_ms == pytest.approx(20.0, rel=RELATIVE_ACCURACY)
    assert merged.p95_queue_ms == pytest.approx(3.0, rel=RELATIVE_ACCURACY)


def test_throughput_adds_up_over_partitions_and_averages_over_windows() -> None:
    at_once = [record_of([1.0] * 10, 0), record_of([1.0] * 20, 1)]
    assert merge(at_once).throughput_qps == pytest.approx(3.0)
    later = record_of([1.0] * 30, 0, seconds=10)
    assert merge([*at_once, later]).throughput_qps == pytest.approx(3.0)
    assert merge(at_once, span=60 * SECOND).throughput_qps == pytest.approx(0.5)


def test_a_merge_of_one_record_is_that_record() -> None:
    record = record_of([1.0, 2.0, 3.0])
    merged = merge([record])
    assert merged.avg_latency_ms == pytest.approx(record.avg_latency_ms)
    assert replace(merged, avg_latency_ms=0.0) == replace(record, avg_latency_ms=0.0)


def test_records_of_two_adapters_do_not_merge() -> None:
    other = record_of([1.0], adapter="legal-qa-v1@1.1.0")
    with pytest.raises(ValueError, match="not of 2"):
        merge([record_of([1.0]), other])
    with pytest.raises(ValueError, match="not of 0"):
        merge([])


def test_the_newest_records_are_merged_by_adapter_over_the_time_asked_for() -> None:
    old, recent = record_of([1.0] * 6, 0, seconds=0), record_of([1.0] * 6, 0, seconds=50)
    other = record_of([1.0] * 3, 1, seconds=50, adapter="base")
    base, legal = newest([old, recent, other], 30 * SECOND)
    assert (base.adapter_id, base.num_requests) == ("base", 3)
    assert base.throughput_qps == pytest.approx(0.1)
    assert (legal.num_requests, legal.window_start) == (6, after(50))


def test_windows_longer_than_the_time_asked_for_are_taken_whole() -> None:
    (merged,) = newest([record_of([1.0] * 20)], SECOND)
    assert merged.throughput_qps == pytest.approx(2.0)


def test_without_records_there_is_nothing_new() -> None:
    assert newest([], SECOND) == []
