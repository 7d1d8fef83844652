"""What redriving and purging write. Pure: streams.kafka.dead_letters.writer writes it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from schemas.topics import Topics
from streams.kafka.dead_letters import headers as names
from streams.kafka.dead_letters.letter import DeadLetter, count_of, last_of
from streams.kafka.output import REDRIVEN_COUNT, REDRIVEN_FROM, Output

#: A transaction takes no more than this: it must end within TRANSACTION_TIMEOUT_MS.
_BATCH_LETTERS: Final = 100
_BATCH_BYTES: Final = 4 * 1024 * 1024
_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of each of some dead letters; `refused` with the reasons."""

    ready: tuple[DeadLetter, ...]
    skipped: tuple[DeadLetter, ...]
    refused: tuple[tuple[DeadLetter, str], ...]


def plan_redrive(
    letters: Iterable[DeadLetter], topics: Topics, *, max_bytes: int, again: bool
) -> Plan:
    """Which of them can be redriven; those that have been are skipped unless `again`.

    `max_bytes` is the largest record that may be written.
    """
    ready, skipped, refused = [], [], []
    for letter in letters:
        reason = refusal(letter, topics, max_bytes)
        if reason is not None:
            refused.append((letter, reason))
        elif letter.redriven_count and not again:
            skipped.append(letter)
        else:
            ready.append(letter)
    return Plan(tuple(ready), tuple(skipped), tuple(refused))


def refusal(letter: DeadLetter, topics: Topics, max_bytes: int) -> str | None:
    """Why the dead letter can't be redriven, in words; None where it can.

    Nothing is written where only Lorelay itself writes, or where it does not read.
    """
    if letter.problem is not None or letter.place is None:
        return letter.problem
    if letter.place.topic not in (topics.queries, topics.requests):
        return f"it comes from neither {topics.queries} nor {topics.requests}"
    if marked(letter, topics.dead_letters, _ANY_TIME).size > max_bytes:
        return f"with a mark that it was redriven it has more than {max_bytes:,} bytes"
    return None


def redriven(letter: DeadLetter, topic: str, value: bytes) -> Output:
    """The original record, to be produced again with `value`; its headers name the dead letter.

    Where that was a redriven one itself, the count goes on.
    """
    kept = [h for h in letter.headers if h[0] not in (REDRIVEN_FROM, REDRIVEN_COUNT)]
    before = count_of(last_of(letter.headers, REDRIVEN_COUNT) or "")
    count = before + letter.redriven_count + 1
    return Output(
        topic=topic,
        key=letter.original_key,
        value=value,
        headers=[
            *kept,
            (REDRIVEN_FROM, letter.key),
            (REDRIVEN_COUNT, str(count).encode()),
        ],
    )


def marked(letter: DeadLetter, topic: str, now: datetime) -> Output:
    """The dead letter again, marked as redriven once more; it stays as old as it is."""
    kept = [h for h in letter.reason if h[0] not in (names.REDRIVEN_AT, REDRIVEN_COUNT)]
    return Output(
        topic=topic,
        key=letter.key,
        value=letter.value,
        partition=letter.partition,
        timestamp_ms=letter.timestamp_ms,
        headers=[
            *letter.headers,
            *kept,
            (names.REDRIVEN_AT, now.astimezone(UTC).isoformat(timespec="milliseconds").encode()),
            (REDRIVEN_COUNT, str(letter.redriven_count + 1).encode()),
        ],
    )


def tombstone(letter: DeadLetter, topic: str) -> Output:
    """What removes the dead letter when the topic is compacted, and hides it at once."""
    return Output(topic=topic, key=letter.key, value=None, partition=letter.partition)


def batches(letters: Iterable[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    """The letters in their order, so many at a time as one transaction takes."""
    batch: list[DeadLetter] = []
    size = 0
    for letter in letters:
        length = len(letter.value)
        if batch and (len(batch) == _BATCH_LETTERS or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += length
    if batch:
        yield batch
