"""What a refusal teaches about the sizes that a topic takes."""

import pytest

from schemas.errors import RecordTooLarge
from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output


def output(topic: str, size: int) -> Output:
    return Output(topic, bytes(size))


def test_our_own_limit_holds_for_every_topic() -> None:
    limits = SizeLimits(100)
    limits.check([output("a", 100), output("b", 100)])
    with pytest.raises(RecordTooLarge, match=r"101 bytes, 100 are allowed"):
        limits.check([output("a", 1), output("b", 101)])


def test_a_refused_record_lowers_the_limit_of_its_topic_alone() -> None:
    limits = SizeLimits(100)
    limits.refused("a", records=1, size=80)
    limits.refused("a", records=1, size=90)
    assert limits.fit([output("a", 79), output("b", 100)])
    assert not limits.fit([output("a", 80)])


def test_a_refused_batch_halves_batches_and_lets_records_be() -> None:
    limits = SizeLimits(100)
    assert limits.batch("a") == 100
    limits.refused("a", records=3, size=90)
    limits.refused("a", records=2, size=40)
    assert (limits.batch("a"), limits.batch("b")) == (20, 100)
    assert limits.fit([output("a", 100)])


def test_what_is_too_large_is_left_out_wherever_it_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = SizeLimits(100)
    limits.refused("responses", records=1, size=50)
    answer, letter = output("responses", 50), output("dead-letters", 100)
    assert limits.fitting([answer, letter]) == [letter]
    assert limits.fitting([letter, output("responses", 49), answer]) == [
        letter,
        output("responses", 49),
    ]
    assert "responses does not take 50 bytes" in caplog.text
