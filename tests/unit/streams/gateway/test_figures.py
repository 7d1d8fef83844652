"""The adapters' figures: what is kept, and who follows it."""

from datetime import UTC, datetime, timedelta

from schemas.codec import Codec
from schemas.records import AdapterMetrics
from streams.gateway.figures import Figures
from streams.kafka.settings import KafkaSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def figures() -> Figures:
    return Figures(KafkaSettings(), Codec(), timedelta(minutes=10), now=lambda: NOW)


def record(kept: Figures, value: bytes) -> None:
    kept.on_record("metrics", b"", value, 0)


def window(minutes_ago: float) -> AdapterMetrics:
    end = NOW - timedelta(minutes=minutes_ago)
    return AdapterMetrics(
        adapter_id="legal-qa-v1",
        adapter_version="1.0.0",
        source_partition=0,
        window_start=end - timedelta(seconds=10),
        window_end=end,
    )


def test_who_follows_has_what_is_kept_and_gets_what_comes() -> None:
    kept, codec, came = figures(), Codec(), list[AdapterMetrics]()
    record(kept, codec.encode(window(20)))
    record(kept, codec.encode(window(2)))
    with kept.followed(came.append) as before:
        assert before == [window(2)]
        record(kept, codec.encode(window(1)))
        record(kept, b"no window")
    record(kept, codec.encode(window(0)))
    assert came == [window(1)]
    assert kept.of("legal-qa-v1", timedelta(minutes=3)) == [window(2), window(1), window(0)]
