"""Two expositions become one that Prometheus accepts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.telemetry.exposition import merge


def exposition(*names: str) -> bytes:
    registry = CollectorRegistry()
    for name in names:
        Gauge(name, f"What {name} is.", registry=registry).set(len(names))
    return generate_latest(registry)


def families(text: bytes) -> list[str]:
    return [family.name for family in text_string_to_metric_families(text.decode())]


def test_the_families_of_both_are_there_once() -> None:
    merged = merge(exposition("ours", "shared"), exposition("shared", "theirs", "third"))
    assert families(merged) == ["ours", "shared", "theirs", "third"]
    assert merged.count(b"# TYPE shared ") == merged.count(b"\nshared ") == 1


def test_of_a_shared_family_ours_stays() -> None:
    merged = merge(exposition("shared"), exposition("shared", "theirs"))
    assert b"\nshared 1.0\n" in merged


def test_all_samples_of_a_histogram_come_along() -> None:
    registry = CollectorRegistry()
    Histogram("vllm:ttft_seconds", "h", ["model"], registry=registry).labels("m{ }").observe(1)
    Counter("vllm:tokens", "c", registry=registry).inc()
    theirs = generate_latest(registry)
    assert merge(b"", theirs) == theirs
    assert merge(exposition("ours"), theirs).endswith(theirs)


def test_samples_without_a_declaration_are_kept() -> None:
    merged = merge(exposition("ours"), b'bare{a="b"} 1\nbare{a="c"} 2\n\nother 3')
    assert merged.endswith(b'bare{a="b"} 1\nbare{a="c"} 2\nother 3\n')


def test_a_family_whose_name_begins_like_another_is_its_own() -> None:
    text = b"# TYPE a gauge\na 1\n# TYPE a_b gauge\na_b 2\n"
    assert families(merge(b"# TYPE a gauge\na 5\n", text)) == ["a", "a_b"]


def test_an_exposition_without_a_last_newline_does_not_run_into_the_next() -> None:
    assert merge(b"ours 1", b"theirs 2\n") == b"ours 1\ntheirs 2\n"


def test_nothing_to_add_changes_nothing() -> None:
    assert merge(exposition("ours"), b"") == exposition("ours")
