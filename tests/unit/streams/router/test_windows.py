"""Metric windows count every response once, wherever the reader dies."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import AdapterMetrics, ErrorInfo, Origin, Response, Routing, Timing, Usage
from streams.router.windows import ClosedWindow, MetricWindows
from streams.telemetry.sketch import RELATIVE_ACCURACY

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEGAL = "legal-qa-v1@1.0.0"
MEDICAL = "medical-diagnosis-v1@1.2.0"


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def answered(
    seconds: float,
    adapter: str | None = LEGAL,
    total_ms: float | None = 100.0,
    prompt_tokens: int = 1,
) -> Response:
    return Response(
        query_id="q",
        status="ok",
        adapter=adapter,
        routing=Routing(adapter=adapter),
        usage=Usage(prompt_tokens, 2),
        timing=Timing(queue_ms=3.0, first_token_ms=20.0, total_ms=total_ms),
        origin=Origin("queries", 0, 0),
        created_at=after(seconds),
    )


def failed(seconds: float, adapter: str | None, routing: Routing | None) -> Response:
    return Response(
        query_id="q",
        status="error",
        adapter=adapter,
        routing=routing,
        error=ErrorInfo("engine", "engine_failed", "It broke."),
        origin=Origin("queries", 0, 0),
        created_at=after(seconds),
    )


def windows_with(*responses: Response, partition: int = 0) -> MetricWindows:
    windows = MetricWindows(window_seconds=10, grace_seconds=2)
    for offset, response in enumerate(responses):
        add(windows, offset, response, partition)
    return windows


def add(windows: MetricWindows, offset: int, response: Response, partition: int = 0) -> None:
    assert response.created_at is not None
    windows.add(partition, offset, response, response.created_at)


def closed_at_last(windows: MetricWindows, seconds: float = 1000) -> list[ClosedWindow]:
    """What closes once responses have ceased to come."""
    return [*windows.close(after(seconds)), *windows.close(after(seconds))]


def test_a_window_is_written_once_its_end_and_its_grace_are_over() -> None:
    windows = windows_with(answered(1), answered(9.999), answered(10))
    windows.close(after(10))
    assert windows.close(after(11.9)) == []
    (closed,) = windows.close(after(12))
    assert (closed.record.window_start, closed.record.window_end) == (START, after(10))
    assert closed.record.num_requests == 2
    assert closed.offsets == (0, 1)
    assert windows.close(after(12)) == []


def test_a_record_tells_counts_rates_and_times() -> None:
    slow = replace(answered(2), timing=Timing(queue_ms=9.0, first_token_ms=50.0, total_ms=300.0))
    windows = windows_with(
        answered(1), answered(1, total_ms=200.0), slow, failed(3, LEGAL, Routing(adapter=LEGAL))
    )
    (closed,) = closed_at_last(windows)
    record = closed.record
    assert (record.adapter_id, record.adapter_version) == ("legal-qa-v1", "1.0.0")
    assert record.source_partition == 0
    assert (record.num_requests, record.num_errors, record.error_rate) == (4, 1, 0.25)
    assert record.throughput_qps == pytest.approx(0.4)
    assert record.avg_latency_ms == pytest.approx(200.0)
    assert record.p50_latency_ms == pytest.approx(200.0, rel=RELATIVE_ACCURACY)
    assert record.p99_latency_ms == pytest.approx(200.0, rel=RELATIVE_ACCURACY)
    assert record.p50_first_token_ms == pytest.approx(20.0, rel=RELATIVE_ACCURACY)
    assert record.p50_queue_ms == pytest.approx(3.0, rel=RELATIVE_ACCURACY)
    assert (record.prompt_tokens, record.completion_tokens) == (3, 6)


def test_without_timings_there_are_no_latencies_rather_than_zeros() -> None:
    (closed,) = closed_at_last(windows_with(failed(1, LEGAL, None)))
    assert closed.record.avg_latency_ms is None
    assert closed.record.p95_latency_ms is None
    assert closed.record.error_rate == 1.0


def test_base_model_and_unrouted_queries_have_records_and_offsets_of_their_own() -> None:
    windows = windows_with(
        answered(1, adapter=None), failed(1, None, Routing()), failed(1, None, None), answered(1)
    )
    closed = {(c.record.adapter_id, c.record.adapter_version): c for c in closed_at_last(windows)}
    assert closed.keys() == {("base", ""), ("unrouted", ""), ("legal-qa-v1", "1.0.0")}
    assert closed["base", ""].offsets == (0, 1)
    assert closed["base", ""].record.error_rate == 0.5
    assert closed["unrouted", ""].offsets == (2,)


def test_an_arm_of_a_split_has_records_of_its_own() -> None:
    arm = replace(answered(1), routing=Routing(adapter=LEGAL, variant="v1"))
    elsewhere = replace(answered(1, adapter=None), routing=Routing(adapter=LEGAL, variant="v1"))
    closed = closed_at_last(windows_with(arm, answered(2), arm, elsewhere))
    found = {(c.record.adapter_id, c.record.variant): c.offsets for c in closed}
    assert found == {
        ("legal-qa-v1", None): (1,),
        ("legal-qa-v1", "v1"): (0, 2),
        ("base", None): (3,),
    }


def test_what_a_fallback_answered_is_a_reject_of_the_version_it_was_given_to() -> None:
    meant = Routing(adapter=LEGAL, variant="v2")
    windows = windows_with(
        replace(answered(1, adapter=MEDICAL), routing=meant),
        replace(answered(1, adapter=None), routing=meant),
        failed(1, LEGAL, meant),
    )
    closed = closed_at_last(windows)
    assert sorted(offset for window in closed for offset in window.offsets) == [0, 1, 2]
    records = {(r.adapter_id, r.variant): r for w in closed for r in (w.record, *w.others)}
    assert records["legal-qa-v1", "v2"].num_rejects == 2
    assert (records["legal-qa-v1", "v2"].num_requests, records["base", None].num_requests) == (1, 1)


def test_a_version_that_only_rejects_has_a_record_beside_anothers() -> None:
    meant = Routing(adapter=LEGAL, variant="v2")
    (closed,) = closed_at_last(windows_with(replace(answered(1, adapter=None), routing=meant)))
    assert (closed.record.adapter_id, closed.offsets) == ("base", (0,))
    (rejects,) = closed.others
    assert (rejects.adapter_id, rejects.num_requests, rejects.num_rejects) == ("legal-qa-v1", 0, 1)


def test_a_late_response_counts_in_the_window_after_the_last_closed_one() -> None:
    windows = windows_with(answered(1))
    closed_at_last(windows, 12)
    add(windows, 1, answered(5))
    assert windows.late == 1
    (closed,) = closed_at_last(windows, 22)
    assert (closed.record.window_start, closed.record.num_requests) == (after(10), 1)


def test_while_responses_flow_a_window_closes_by_their_times() -> None:
    windows = windows_with(answered(1), answered(9))
    assert windows.close(after(13)) == []
    add(windows, 2, answered(12.5))
    (closed,) = windows.close(after(14.5)) or windows.close(after(14.5))
    assert closed.record.window_start == START


def test_a_backlog_lands_in_its_own_windows() -> None:
    windows = windows_with()
    closed = []
    for offset in range(400):  # four seconds of traffic between two looks
        add(windows, offset, answered(offset / 10))
        if offset % 40 == 39:
            closed += windows.close(after(7200))
    closed += closed_at_last(windows, 7200)
    counted = {c.record.window_start: c.record.num_requests for c in closed}
    assert counted == {after(10 * number): 100 for number in range(4)}
    assert windows.late == 0


def test_partitions_are_counted_apart() -> None:
    windows = windows_with(answered(1))
    add(windows, 0, answered(1), partition=1)
    closed = closed_at_last(windows)
    assert [c.record.source_partition for c in closed] == [0, 1]


def test_a_dropped_partition_is_not_written() -> None:
    windows = windows_with(answered(1))
    add(windows, 0, answered(1), partition=1)
    windows.drop(0)
    windows.drop(7)
    assert [c.record.source_partition for c in closed_at_last(windows)] == [1]


def test_a_missing_or_future_creation_time_is_replaced_by_the_kafka_records() -> None:
    windows = windows_with()
    windows.add(0, 0, replace(answered(0), created_at=None), after(3))
    windows.add(0, 1, answered(1_000_000), after(4))
    (closed,) = closed_at_last(windows, 12)
    assert closed.offsets == (0, 1)


def test_a_clock_far_ahead_neither_holds_its_offsets_nor_hurries_the_others() -> None:
    windows = windows_with(answered(1), answered(1_000_000), answered(2))
    (misdated,) = windows.close(after(5))
    assert misdated.offsets == (1,)
    assert misdated.record.window_start == START
    (closed,) = closed_at_last(windows, 12)
    assert closed.offsets == (0, 2)
    assert windows.late == 0


def test_a_clock_a_little_ahead_does_not_hold_up_the_windows_before() -> None:
    windows = windows_with(answered(1), answered(14))
    (closed,) = windows.close(after(12.5))
    assert closed.offsets == (0,)


def test_a_window_takes_time() -> None:
    with pytest.raises(ValueError):
        MetricWindows(window_seconds=0)


# Exactly once, over every way to die

LOG = st.lists(
    st.tuples(
        st.sampled_from([1.0, 5.0, 9.999, 10.0, 12.0, 21.0, 35.0, 1e6]),  # when it was created
        st.sampled_from([LEGAL, MEDICAL, None]),
        st.integers(1, 3),  # offsets to the next record: markers lie between
    ),
    min_size=2,
    max_size=20,
)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 4),  # responses read first
        st.sampled_from(["write", "look twice, write", "die before the commit", "die", "lose it"]),
        st.sampled_from([12.0, 22.0, 32.0, 42.0]),  # when
    ),
    min_size=2,
    max_size=12,
)


class Reader:
    """Reads one partition; what it wrote and which offsets it finished survive its death."""

    def __init__(self, log: list[tuple[float, str | None, int]]) -> None:
        self.log: dict[int, Response] = {}
        offset = 0
        for number, (created, adapter, gap) in enumerate(log):
            # The tokens tell responses apart: each adds a digit of its own.
            self.log[offset] = answered(created, adapter, prompt_tokens=10 ** (number % 15))
            offset += gap
        self.written: list[AdapterMetrics] = []
        self.finished: list[int] = []
        self.windows = MetricWindows(window_seconds=10, grace_seconds=2)
        self.position = 0

    def read(self, responses: int) -> None:
        fetched = [offset for offset in self.log if offset >= self.position][:responses]
        for offset in fetched:
            if offset not in self.finished:
                add(self.windows, offset, self.log[offset])
            self.position = offset + 1

    def write(self, seconds: float) -> None:
        for closed in self.windows.close(after(seconds)):
            self.written.append(closed.record)
            self.finished.extend(closed.offsets)

    def step(self, responses: int, action: str, seconds: float) -> None:
        self.read(responses)
        if "write" in action:
            self.write(seconds)
        if "twice" in action:
            self.write(seconds)
        if action == "die before the commit":
            self.windows.close(after(seconds))
        if "die" in action:
            self.windows = MetricWindows(window_seconds=10, grace_seconds=2)
        if action == "lose it":
            self.windows.drop(0)
        if "die" in action or action == "lose it":
            self.position = 0


@given(LOG, STEPS)
def test_every_response_counts_exactly_once_however_often_the_reader_dies(
    log: list[tuple[float, str | None, int]], steps: list[tuple[int, str, float]]
) -> None:
    reader = Reader(log)
    for step in steps:
        reader.step(*step)
    reader.read(len(log))
    reader.step(0, "look twice, write", 1000)

    requests, tokens = Counter[str](), Counter[str]()
    for record in reader.written:
        requests[record.adapter_id] += record.num_requests
        tokens[record.adapter_id] += record.prompt_tokens
    expected, expected_tokens = Counter[str](), Counter[str]()
    for response in reader.log.values():
        adapter_id = (response.adapter or "base").partition("@")[0]
        expected[adapter_id] += 1
        expected_tokens[adapter_id] += response.usage.prompt_tokens
    assert requests == expected
    assert tokens == expected_tokens
    assert sorted(reader.finished) == list(reader.log)


@given(LOG, STEPS)
def test_a_reader_with_sound_clocks_writes_a_window_once_and_in_order(
    log: list[tuple[float, str | None, int]], steps: list[tuple[int, str, float]]
) -> None:
    reader = Reader([entry for entry in log if entry[0] <= 21.0])
    times = sorted(seconds for _, _, seconds in steps)
    for (responses, action, _), seconds in zip(steps, times, strict=True):
        if "write" in action:
            reader.step(responses, action, seconds)
    names = [(record.adapter_id, record.window_start) for record in reader.written]
    assert len(names) == len(set(names))
    starts = [record.window_start for record in reader.written]
    assert starts == sorted(starts)
