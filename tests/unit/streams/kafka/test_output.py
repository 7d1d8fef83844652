"""A record to produce."""

from streams.kafka.output import Output, event_headers


def test_a_null_header_has_a_name_alone() -> None:
    assert Output("t", b"12", b"3", headers=[("ab", None), ("c", b"d")]).size == 7


def test_a_trace_that_is_larger_than_any_is_not_handed_on() -> None:
    for received in ([("traceparent", bytes(10_000))], [("tracestate", bytes(100))] * 100):
        assert "trace" not in " ".join(dict(event_headers("Query", "q-1", "tester", received)))


def test_the_trace_and_the_dead_letter_are_handed_on_and_nothing_else_of_the_received() -> None:
    received = [("traceparent", b"00-1-2-01"), ("lorelay.redriven.from", b"t/0/1"), ("x", None)]
    headers = event_headers("Query", "q-1", "tester", received)
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"q-1",
        "ce_source": b"tester",
        "ce_type": b"lorelay.Query",
        "traceparent": b"00-1-2-01",
        "lorelay.redriven.from": b"t/0/1",
    }
