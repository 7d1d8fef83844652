"""Quantiles survive the wire and keep their promised error."""

import math
from typing import Any

import pytest
from ddsketch import DDSketch
from ddsketch.pb import ddsketch_pb2
from ddsketch.pb.proto import DDSketchProto
from hypothesis import example, given
from hypothesis import strategies as st

from streams.telemetry.sketch import (
    LONGEST_MS,
    RELATIVE_ACCURACY,
    Quantiles,
    decode,
    decode_total,
    encode,
)

PROTOBUF: Any = DDSketchProto  # the library's own functions have no types
DURATIONS = st.lists(st.floats(0.01, 1e8), min_size=1, max_size=100)
LEVELS = (0.0, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0)


def quantiles(durations: list[float]) -> Quantiles:
    sketch = Quantiles()
    for ms in durations:
        sketch.add(ms)
    return sketch


def levels(sketch: Quantiles) -> list[float | None]:
    return [sketch.at(level) for level in LEVELS]


@given(DURATIONS)
def test_a_quantile_is_within_one_percent(durations: list[float]) -> None:
    sketch = quantiles(durations)
    for level in LEVELS:
        true = sorted(durations)[int(level * (len(durations) - 1))]
        assert sketch.at(level) == pytest.approx(true, rel=RELATIVE_ACCURACY * 1.001)


@given(DURATIONS, st.lists(st.floats(0, 1e8)), st.lists(st.floats(0, 1e8)))
def test_three_sketches_come_back_from_the_wire_as_they_were(
    total: list[float], first_token: list[float], queue: list[float]
) -> None:
    before = [quantiles(total), quantiles(first_token), quantiles(queue)]
    after = decode(encode(*before))
    assert [levels(sketch) for sketch in after] == [levels(sketch) for sketch in before]
    assert [sketch.count for sketch in after] == [len(total), len(first_token), len(queue)]


@given(DURATIONS)
def test_a_plain_ddsketch_reader_finds_the_total_time(durations: list[float]) -> None:
    payload = encode(quantiles(durations), quantiles([1.0]), Quantiles())
    plain: DDSketch = PROTOBUF.from_proto(ddsketch_pb2.DDSketch.FromString(payload))
    assert plain.count == len(durations)
    assert plain.get_quantile_value(0.5) == pytest.approx(quantiles(durations).at(0.5))


@given(st.lists(st.floats(-1e6, 1e6), max_size=60))
@example([1e6, -1e-300, 0.0, 1e-300, -1e6, 5e-324])
def test_what_the_library_writes_is_read_as_the_library_reads_it(values: list[float]) -> None:
    written = DDSketch(RELATIVE_ACCURACY)
    for value in values:
        written.add(value)
    message = PROTOBUF.to_proto(written)
    theirs, ours = PROTOBUF.from_proto(message), Quantiles.from_protobuf(message)
    assert ours.count == theirs.count == len(values)
    assert levels(ours) == [pytest.approx(theirs.get_quantile_value(level)) for level in LEVELS]


def test_no_durations_have_no_quantiles() -> None:
    assert Quantiles().at(0.5) is None
    assert [sketch.count for sketch in decode(b"")] == [0, 0, 0]
    assert [sketch.count for sketch in decode(encode(*[Quantiles()] * 3))] == [0, 0, 0]


def test_two_hosts_clocks_and_broken_durations_do_no_harm() -> None:
    sketch = quantiles([-5.0, 0.0, math.nan, math.inf])
    assert sketch.count == 3
    assert sketch.at(0.0) == 0.0
    assert sketch.at(1.0) == pytest.approx(LONGEST_MS, rel=RELATIVE_ACCURACY)


def test_a_sketch_stays_small_whatever_the_durations() -> None:
    everything = quantiles([10.0**power for power in range(-300, 300)])
    assert len(encode(everything, everything, everything)) < 40_000


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="not a DDSketch message"):
        decode(b"\xff\xff\xff")


def test_a_sketch_of_another_accuracy_is_refused() -> None:
    coarse = DDSketch(0.05)
    coarse.add(1.0)
    with pytest.raises(ValueError):
        decode(PROTOBUF.to_proto(coarse).SerializeToString())


@given(DURATIONS, st.floats(0.01, 1e8))
def test_what_lies_above_a_duration_is_counted_to_within_the_accuracy(
    durations: list[float], bound: float
) -> None:
    found = quantiles(durations).above(bound)
    wide = 1 + 2.5 * RELATIVE_ACCURACY
    assert sum(ms > bound * wide for ms in durations) <= found
    assert found <= sum(ms > bound / wide for ms in durations)


@given(DURATIONS)
def test_nothing_lies_above_the_highest_quantile_and_all_above_none(durations: list[float]) -> None:
    sketch = quantiles(durations)
    highest = sketch.at(1.0)
    assert highest is not None
    assert sketch.above(highest) == 0
    assert sketch.above(0.0) == len(durations)
    assert Quantiles().above(5.0) == 0


@given(st.lists(st.floats(0, 1e8)), st.lists(st.floats(0, 1e8)))
def test_what_is_taken_out_again_leaves_no_trace(stays: list[float], goes: list[float]) -> None:
    sketch = quantiles(stays)
    sketch.merge(quantiles(goes))
    sketch.subtract(quantiles(goes))
    assert sketch.count == len(stays)
    assert levels(sketch) == levels(quantiles(stays))
    assert sketch.above(100.0) == quantiles(stays).above(100.0)


def test_the_total_time_alone_is_what_decode_makes_of_it() -> None:
    payload = encode(quantiles([1.0, 20.0, 300.0]), quantiles([5.0]), quantiles([5.0]))
    total, waited = decode_total(payload)
    assert levels(total) == levels(decode(payload)[0])
    assert waited.count == 0
    assert [sketch.count for sketch in decode_total(b"")] == [0, 0]
    with pytest.raises(ValueError, match="not a DDSketch message"):
        decode_total(b"\xff")


def test_those_that_waited_for_their_adapter_are_told_apart_and_others_skip_them() -> None:
    parts = quantiles([1.0, 20.0, 300.0]), quantiles([5.0]), quantiles([7.0])
    payload = encode(*parts, quantiles([300.0]))
    total, waited = decode_total(payload)
    total.subtract(waited)
    assert levels(total) == levels(quantiles([1.0, 20.0]))
    assert [levels(part) for part in decode(payload)] == [levels(part) for part in parts]
    assert encode(*parts, Quantiles()) == encode(*parts)


@pytest.mark.parametrize("other", [[0.5], [1000.0], [20.0, 2000.0]])
def test_what_was_never_counted_cannot_be_taken_out(other: list[float]) -> None:
    with pytest.raises(ValueError, match="not counted"):
        quantiles([10.0, 100.0]).subtract(quantiles(other))
