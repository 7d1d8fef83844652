"""Figures of the last minutes, merged from windows of several partitions."""

import pytest

from schemas.records import AdapterMetrics
from streams.gateway.dashboard.versions import Versions
from streams.telemetry.tally import Tally
from tests.unit.streams.gateway.dashboard.answered import LEGAL, MEDICAL, NOW, after, response


def window(adapter: str, start: float, *totals_ms: float, partition: int = 0) -> AdapterMetrics:
    tally = Tally()
    for total_ms in totals_ms:
        answer = response()
        tally.add(response(timing=type(answer.timing)(total_ms=total_ms, first_token_ms=2.0)))
    return tally.record(adapter, partition, after(start), after(start + 10))


def test_windows_of_all_partitions_are_one() -> None:
    versions = Versions()
    versions.add(window(LEGAL, -30, 10.0, 20.0))
    versions.add(window(LEGAL, -30, 30.0, partition=1))
    versions.add(window(LEGAL, -20, *[40.0] * 7))
    (row,) = versions.rows(NOW)
    assert (row["adapter"], row["requests"], row["errors"]) == (LEGAL, 10, 0)
    assert row["avg_ms"] == pytest.approx(34.0)
    assert row["p95_ms"] == pytest.approx(40.0, rel=0.01)
    assert row["first_p95_ms"] == pytest.approx(2.0, rel=0.01)
    assert [(end, count) for end, count, _ in row["trend"]] == [
        (after(-20).timestamp(), 3),
        (after(-10).timestamp(), 7),
    ]


def test_the_most_asked_comes_first() -> None:
    versions = Versions()
    versions.add(window(MEDICAL, -30, 1.0))
    versions.add(window(LEGAL, -30, 1.0, 1.0))
    versions.add(window("base", -30, 1.0))
    assert [row["adapter"] for row in versions.rows(NOW)] == [LEGAL, "base", MEDICAL]


def test_old_windows_are_forgotten() -> None:
    versions = Versions()
    versions.add(window(LEGAL, -300, 10.0))
    versions.add(window(LEGAL, -30, 30.0))
    assert versions.rows(NOW)[0]["requests"] == 2
    (row,) = versions.rows(after(60))
    assert row["requests"] == 1
    assert row["avg_ms"] == pytest.approx(30.0)
    assert versions.rows(after(600)) == []


def test_a_version_without_times_has_none() -> None:
    versions = Versions()
    tally = Tally(num_requests=1, num_errors=1)
    versions.add(tally.record("unrouted", 0, after(-20), after(-10)))
    (row,) = versions.rows(NOW)
    assert (row["error_rate"], row["avg_ms"], row["p95_ms"]) == (1.0, None, None)


def test_a_sketch_of_others_is_refused() -> None:
    broken = AdapterMetrics(
        adapter_id="legal-qa-v1",
        adapter_version="1.0.0",
        source_partition=0,
        window_start=after(-20),
        window_end=after(-10),
        sketch=b"no sketch",
    )
    versions = Versions()
    with pytest.raises(ValueError, match="Sketch"):
        versions.add(broken)
