"""A streamed answer, whatever happens to its chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Chunk, Origin
from streams.assembly import Diverged, StreamedText

ORIGIN = Origin("queries", 0, 7)


def chunk(sequence: int, text: str, attempt: int = 1) -> Chunk:
    return Chunk(query_id="q", origin=ORIGIN, attempt=attempt, sequence=sequence, text=text)


def sent(text: StreamedText, *chunks: Chunk) -> str:
    """What is sent where each chunk is sent as soon as it is there."""
    for piece in chunks:
        text.add(piece)
        text.take()
    return text.sent


def test_chunks_are_sent_as_they_come() -> None:
    text = StreamedText()
    text.add(chunk(0, "Three"))
    assert text.take() == "Three"
    text.add(chunk(1, " years"))
    text.add(chunk(2, "."))
    assert text.waiting == 7
    assert text.take() == " years."
    assert text.take() == ""


def test_the_response_brings_what_is_missing() -> None:
    text = StreamedText()
    assert sent(text, chunk(0, "Three")) == "Three"
    text.complete("Three years.")
    assert text.take() == " years."


def test_after_a_lost_chunk_nothing_is_sent_before_the_response() -> None:
    text = StreamedText()
    assert sent(text, chunk(0, "Three"), chunk(2, "."), chunk(3, "!")) == "Three"
    text.complete("Three years.!")
    assert text.take() == " years.!"


def test_a_new_attempt_goes_on_where_the_last_one_ended() -> None:
    text = StreamedText()
    sent(text, chunk(0, "Three"), chunk(1, " ye"))
    assert sent(text, chunk(0, "Three years", attempt=2)) == "Three years"
    assert sent(text, chunk(1, ".", attempt=2)) == "Three years."


def test_the_same_attempt_by_another_worker_sends_nothing_twice() -> None:
    text = StreamedText()
    sent(text, chunk(0, "Three"), chunk(1, " years"))
    assert sent(text, chunk(0, "Thr"), chunk(1, "ee")) == "Three years"
    assert sent(text, chunk(2, " years.")) == "Three years."


def test_chunks_of_an_earlier_attempt_come_too_late() -> None:
    text = StreamedText()
    sent(text, chunk(0, "Three", attempt=2))
    assert sent(text, chunk(1, " days", attempt=1), chunk(0, "Two", attempt=1)) == "Three"


def test_another_answer_is_not_sent_after_the_beginning_of_the_first() -> None:
    text = StreamedText()
    sent(text, chunk(0, "Three"), chunk(0, "Two years.", attempt=2))
    assert (text.sent, text.waiting) == ("Three", 0)
    with pytest.raises(Diverged):
        text.complete("Two years.")


def test_an_answer_that_comes_back_to_what_was_sent_is_sent_to_its_end() -> None:
    text = StreamedText()
    sent(text, chunk(0, "Three"), chunk(0, "Two", attempt=2))
    text.complete("Three years.")
    assert text.take() == " years."


@given(
    runs=st.lists(st.lists(st.text(max_size=3), max_size=6), max_size=4),
    lost=st.sets(st.integers(0, 24)),
)
def test_what_is_sent_is_always_the_answer_s_beginning_or_the_stream_breaks(
    runs: list[list[str]], lost: set[int]
) -> None:
    text = StreamedText()
    chunks = [
        chunk(sequence, piece, attempt)
        for attempt, run in enumerate(runs, 1)
        for sequence, piece in enumerate(run)
    ]
    sent(text, *(piece for number, piece in enumerate(chunks) if number not in lost))
    answer = "".join(runs[-1]) if runs else ""
    before = text.sent
    try:
        text.complete(answer)
    except Diverged:
        assert not answer.startswith(before)
    else:
        text.take()
        assert text.sent == answer
