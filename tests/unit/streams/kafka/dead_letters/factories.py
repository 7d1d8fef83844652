"""Dead letters as router and worker write them, read as the command reads them."""

from datetime import UTC, datetime
from typing import Any

from schemas.codec import Codec
from schemas.errors import EngineError, LorelayError, MalformedRecord
from schemas.records import InferenceRequest, Origin, Query, Response, Routing
from schemas.topics import Topics
from streams.kafka.answers import error_response
from streams.kafka.dead_letters.letter import DeadLetter, dead_letter, read_dead_letter
from streams.kafka.output import Headers, Output

TOPICS = Topics()
CODEC = Codec()
DEAD_SINCE = datetime(2026, 11, 24, 12, tzinfo=UTC)

QUERY = Origin(TOPICS.queries, 1, 41)
UNREADABLE = MalformedRecord("It is no record.")


def response(origin: Origin, query_id: str, adapter: str | None = None) -> Response:
    routing = Routing(adapter=adapter) if adapter else None
    return error_response(
        EngineError("It failed."), query_id, origin, now=DEAD_SINCE, routing=routing
    )


def written(
    origin: Origin = QUERY,
    *,
    key: bytes | None = b"session-1",
    value: bytes | None = b"\x07 no query",
    headers: Headers = (("traceparent", b"00-1-2-01"),),
    error: LorelayError = UNREADABLE,
    query_id: str = "q-1",
    adapter: str | None = None,
    topics: Topics = TOPICS,
) -> Output:
    return dead_letter(
        topics.dead_letters,
        (origin.topic, origin.partition, origin.offset),
        key,
        value,
        headers,
        error,
        "router" if origin.topic == topics.queries else "worker",
        response(origin, query_id, adapter),
    )


def read(output: Output, *, at: datetime = DEAD_SINCE, partition: int = 2) -> DeadLetter:
    return read_dead_letter(
        CODEC,
        partition=partition,
        timestamp_ms=int(at.timestamp() * 1000),
        key=output.key,
        value=output.value or b"",
        headers=output.headers,
    )


def letter(at: datetime = DEAD_SINCE, **changes: Any) -> DeadLetter:
    return read(written(**changes), at=at)


def failed_request(offset: int = 7, attempt: int = 3) -> tuple[InferenceRequest, Origin]:
    """A request that ran out of attempts, and where its record lay."""
    query = Query(id="q-7", prompt="Wie lange?", session="s")
    routing = Routing(adapter="legal-qa-v1@1.0.0", score=0.7)
    request = InferenceRequest(query, routing, Origin("lorelay.queries", 0, 3), attempt, 5)
    return request, Origin("lorelay.requests", 2, offset)
