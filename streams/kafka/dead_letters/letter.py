"""A dead letter: how a record that nobody can handle is kept whole, and read again. Pure.

The reason stands in headers behind the original ones: streams.kafka.dead_letters.headers.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.codec import Codec
from schemas.errors import MAX_MESSAGE_BYTES, DecodeError, LorelayError
from schemas.records import InferenceRequest, Origin, Query, Response
from streams.kafka.answers import from_timestamp
from streams.kafka.dead_letters import headers as names
from streams.kafka.output import REDRIVEN_COUNT, REDRIVEN_FROM, Headers, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One record of the topic, where it lies (`partition`, `key`, `timestamp_ms`) included.

    `value`, `original_key` and `headers` are the original record's, `reason` the headers behind
    them. What the record doesn't say is empty or None; `problem` says in words why it is none
    of ours, if so.
    """

    partition: int
    key: bytes
    timestamp_ms: int
    value: bytes
    headers: Headers
    reason: Headers
    place: Origin | None
    original_key: bytes | None
    stage: str
    error_class: str
    category: str
    code: str
    message: str
    query_id: str | None
    adapter: str | None
    since: datetime | None
    redriven_at: datetime | None
    redriven_count: int
    redriven_from: str | None
    problem: str | None

    @property
    def origin(self) -> str:
        """The name it goes by: `topic/partition/offset` of the original record."""
        return self.key.decode(errors="backslashreplace")


def dead_letter(
    topic: str,
    origin: tuple[str, int, int],
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    error: LorelayError,
    stage: str,
    response: Response | None = None,
) -> Output:
    """The record at `origin` (topic, partition, offset) for the topic of dead letters.

    The key is the origin, so the topic holds each record once and a purge is a tombstone.
    For that, a value that is null is kept as an empty one. `response` is what the client was
    told, where the record is a client's.
    """
    reason: list[tuple[str, bytes | None]] = [
        (names.TOPIC, origin[0].encode()),
        (names.PARTITION, str(origin[1]).encode()),
        (names.OFFSET, str(origin[2]).encode()),
        (names.CONNECTOR, b"lorelay"),
        (names.STAGE, stage.encode()),
        (names.CLASS, type(error).__name__.encode()),
        (names.MESSAGE, str(error).encode(errors="backslashreplace")[:MAX_MESSAGE_BYTES]),
        (names.CATEGORY, error.category.encode()),
        (names.CODE, error.code.encode()),
        (names.QUERY_ID, b"" if response is None else response.query_id.encode()),
    ]
    if response is not None and response.adapter is not None:
        reason.append((names.ADAPTER, response.adapter.encode()))
    if key is not None:
        reason.append((names.ORIGINAL_KEY, key))
    return Output(
        topic=topic,
        key="/".join(map(str, origin)).encode(),
        value=value or b"",
        headers=[*headers, *reason],
    )


def read_dead_letter(
    codec: Codec,
    *,
    partition: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes,
    headers: Headers,
) -> DeadLetter:
    """The record of the dead-letters topic as a dead letter, whatever bytes it is made of.

    Query id and adapter are those of its headers, or else of the original where it can be read.
    """
    original, reason = _parted(headers)
    raw = dict(reason)
    said = {name: (found or b"").decode(errors="replace") for name, found in reason}
    place = _place((key or b"").decode(errors="replace"))
    asked = None if names.QUERY_ID in said else original_record(codec, value)
    return DeadLetter(
        partition=partition,
        key=key or b"",
        timestamp_ms=timestamp_ms,
        value=value,
        headers=original,
        reason=reason,
        place=place,
        original_key=raw.get(names.ORIGINAL_KEY),
        stage=said.get(names.STAGE, ""),
        error_class=said.get(names.CLASS, ""),
        category=said.get(names.CATEGORY, ""),
        code=said.get(names.CODE, ""),
        message=said.get(names.MESSAGE, ""),
        query_id=said.get(names.QUERY_ID) or _query_id(asked, place),
        adapter=said.get(names.ADAPTER) or _adapter(asked),
        since=_time(timestamp_ms),
        redriven_at=_written_time(said.get(names.REDRIVEN_AT, "")),
        redriven_count=count_of(said.get(REDRIVEN_COUNT, "")),
        redriven_from=last_of(original, REDRIVEN_FROM),
        problem=_problem(place, said),
    )


def original_record(codec: Codec, value: bytes) -> InferenceRequest | Query | None:
    """What the original bytes say; None where they can't be read."""
    with suppress(DecodeError):
        return codec.decode(InferenceRequest, value)  # first: its required fields no query has
    with suppress(DecodeError):
        return codec.decode(Query, value)
    return None


def _parted(headers: Headers) -> tuple[Headers, Headers]:
    """The original headers, and ours behind them."""
    starts = [index for index, (name, _) in enumerate(headers) if name == names.TOPIC]
    start = starts[-1] if starts else len(headers)
    return tuple(headers[:start]), tuple(headers[start:])


def _problem(place: Origin | None, said: dict[str, str]) -> str | None:
    if names.TOPIC not in said:
        return "it has no headers that say where it comes from"
    if place is None:
        return "its key is no origin"
    told = "/".join(said.get(name, "") for name in (names.TOPIC, names.PARTITION, names.OFFSET))
    if _place(told) != place:
        return "its key and its headers name different origins"
    return None


def _place(text: str) -> Origin | None:
    topic, *numbers = text.rsplit("/", 2)
    if not topic or len(numbers) != 2 or not all(n.isascii() and n.isdecimal() for n in numbers):
        return None
    partition, offset = map(count_of, numbers)
    return Origin(topic, partition, offset)


def _query_id(asked: InferenceRequest | Query | None, place: Origin | None) -> str | None:
    if isinstance(asked, InferenceRequest):
        return asked.query.id or str(asked.origin)
    if asked is None:
        return None
    return asked.id or (str(place) if place else None)  # as the router names it


def _adapter(asked: InferenceRequest | Query | None) -> str | None:
    if isinstance(asked, InferenceRequest):
        return asked.routing.adapter
    return asked.adapter if asked else None


def last_of(headers: Headers, name: str) -> str | None:
    """The last header of that name, as text."""
    values = [value for found, value in headers if found == name]
    return (values[-1] or b"").decode(errors="replace") if values else None


def count_of(text: str) -> int:
    """The number in a header; 0 where there is none."""
    try:
        return max(0, int(text))
    except ValueError:
        return 0


def _time(timestamp_ms: int) -> datetime | None:
    try:
        return _in_every_zone(from_timestamp(timestamp_ms)) if timestamp_ms >= 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def _written_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return _in_every_zone(time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _in_every_zone(time: datetime) -> datetime | None:
    """The time, unless there are zones in which it is beyond what a datetime can say."""
    return time if datetime.min.year < time.year < datetime.max.year else None
