"""Dead letters: how many there are, which is the newest."""

from schemas.codec import Codec
from schemas.errors import InvalidRequest
from streams.gateway.dashboard.letters import SHOWN, Letters
from streams.kafka.dead_letters.letter import DeadLetter, dead_letter, read_dead_letter


def letter(offset: int, message: str = "It is no query.") -> DeadLetter:
    origin = ("queries", 0, offset)
    output = dead_letter(
        "dead-letters", origin, None, b"a secret", (), InvalidRequest(message), "router"
    )
    return read_dead_letter(
        Codec(),
        partition=1,
        timestamp_ms=1_000 + offset,
        key=output.key,
        value=output.value or b"",
        headers=output.headers,
    )


def test_the_newest_come_first_and_without_what_is_in_them() -> None:
    letters = Letters()
    for offset in range(SHOWN + 5):
        letters.add(letter(offset))
    summary = letters.summary()
    assert (summary["count"], summary["more"]) == (SHOWN + 5, False)
    assert [row["origin"] for row in summary["newest"]][:2] == ["queries/0/14", "queries/0/13"]
    assert summary["newest"][0]["message"] == "It is no query."
    assert "secret" not in str(summary)


def test_each_record_counts_once_and_not_when_it_is_purged() -> None:
    letters = Letters()
    letters.add(letter(1, "First."))
    letters.add(letter(1, "Again."))
    assert letters.summary()["newest"][0]["message"] == "Again."
    assert letters.summary()["count"] == 1
    letters.purge(1, b"queries/0/1")
    assert letters.summary()["count"] == 0


def test_there_may_be_older_ones() -> None:
    letters = Letters()
    letters.cut()
    assert letters.summary() == {"count": 0, "more": True, "newest": []}
