"""The registry as ThemisDB's clients read it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.errors import UnknownAdapter
from schemas.records import AdapterMetrics, Quality, Training
from streams.gateway.themis.shapes import figures, metadata, named, registry_listing
from streams.registry.metadata import read_metadata
from streams.registry.reader import Registry
from streams.telemetry.tally import Tally
from tests.unit.streams.registry.factories import NOW, version

SPAN = timedelta(seconds=60)


def registry(*versions: object) -> Registry:
    made = Registry()
    for offset, entry in enumerate(versions):
        made.apply_version(entry.key, entry, offset)  # type: ignore[attr-defined, arg-type]
    return made


def window(key: str, partition: int, latencies: list[float]) -> AdapterMetrics:
    tally = Tally()
    for latency in latencies:
        tally.num_requests += 1
        tally.latency_sum_ms += latency
        tally.total.add(latency)
    return tally.record(key, partition, NOW, NOW + timedelta(seconds=10))


def test_the_list_has_an_entry_for_each_version_and_their_number() -> None:
    entry = version(
        training=Training(num_samples=50_000),
        quality=Quality(0.99, 4.5),
        created_at=NOW,
    )
    assert registry_listing([entry]) == {
        "adapters": [
            {
                "adapter_id": "legal-qa-v1",
                "adapter_version": "1.0.0",
                "base_model": "demo-base",
                "domain": "legal",
                "task_type": "question-answering",
                "status": "active",
                "created_at": "2026-03-01T12:00:00.000Z",
                "metrics": {
                    "num_samples": 50_000,
                    "compliance_rate": 0.99,
                    "avg_response_quality": 4.5,
                },
            }
        ],
        "total": 1,
    }


def test_metadata_can_be_registered_as_it_is_shown() -> None:
    shown = version(
        languages=("de", "en"),
        training=Training("legal", 150, 3.0, 2e-4, 4, 8.0, 0.0, ("q_proj",)),
        custom={"compliance": "GDPR"},
        created_at=NOW,
    )
    assert read_metadata(metadata(shown), NOW) == replace(shown, artifact=None)


def test_figures_of_several_partitions_add_up_by_their_sketches() -> None:
    records = [window("a-b-v1@1.0.0", 0, [10.0] * 94), window("a-b-v1@1.1.0", 1, [500.0] * 6)]
    row = figures("a-b-v1", records, SPAN, NOW)
    assert row["num_requests"] == 100
    assert row["avg_latency_ms"] == pytest.approx(39.4)
    assert row["p95_latency_ms"] == pytest.approx(500, rel=0.02)
    assert row["throughput_qps"] == pytest.approx(100 / 60)
    assert row["timestamp"] == "2026-03-01T12:00:10.000Z"


def test_without_records_there_are_no_latencies() -> None:
    row = figures("a-b-v1", [], SPAN, NOW)
    assert (row["num_requests"], row["avg_latency_ms"], row["error_rate"]) == (0, None, 0.0)
    assert row["timestamp"] == "2026-03-01T12:00:00.000Z"


def test_an_exact_version_is_found_whatever_its_state_and_an_id_by_what_serves() -> None:
    retired, active = version(status="retired"), version(number="1.1.0")
    known = registry(active, version(number="1.2.0", status="failed"), retired)
    assert named(known, retired.key) == retired
    assert named(known, "legal-qa-v1") == active
    assert named(known, "legal-qa") == active


def test_an_id_that_nobody_serves_is_its_newest_version() -> None:
    old, new = version(status="retired"), version(number="1.1.0", status="retired")
    assert named(registry(new, old), "legal-qa-v1") == new


def test_what_nobody_knows_is_an_error() -> None:
    with pytest.raises(UnknownAdapter):
        named(registry(version()), "tax-qa-v1")
