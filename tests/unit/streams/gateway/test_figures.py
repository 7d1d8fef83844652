"""The adapters' figures: what is kept, and who follows it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from schemas.codec import Codec
from schemas.records import AdapterMetrics
from streams.gateway.figures import Figures
from streams.kafka.settings import KafkaSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def figures(now: Callable[[], datetime] = lambda: NOW) -> Figures:
    return Figures(KafkaSettings(), Codec(), timedelta(minutes=10), now)


def record(kept: Figures, value: bytes) -> None:
    kept.on_record("metrics", b"", value, 0)


def window(minutes_ago: float, adapter_id: str = "legal-qa-v1") -> AdapterMetrics:
    end = NOW - timedelta(minutes=minutes_ago)
    return AdapterMetrics(
        adapter_id=adapter_id,
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


def everything(kept: Figures) -> list[AdapterMetrics]:
    with kept.followed(lambda window: None) as windows:
        return windows


def test_a_version_that_has_stopped_is_forgotten() -> None:
    minutes_ago, codec = 30.0, Codec()
    kept = figures(lambda: NOW - timedelta(minutes=minutes_ago))
    for number in range(30):
        minutes_ago = 30.0 - number
        record(kept, codec.encode(window(minutes_ago, f"tax-qa-v{number}")))
    assert everything(kept) == [
        window(30.0 - number, f"tax-qa-v{number}") for number in range(19, 30)
    ]


def test_an_old_window_that_comes_late_takes_none_along() -> None:
    kept, codec = figures(), Codec()
    for minutes_ago in (2, 20):
        record(kept, codec.encode(window(minutes_ago)))
    assert window(2) in everything(kept)
