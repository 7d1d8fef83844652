"""How a response leaves, whoever writes it: to the responses topic, and where it was asked to."""

from collections.abc import Callable
from datetime import UTC, datetime

from schemas.codec import Codec
from schemas.errors import RequestError
from schemas.records import InferenceRequest, Origin, Query, Response, Routing, Timing
from schemas.topics import Topics
from streams.kafka.output import Headers, Output, event_headers


def response_outputs(
    codec: Codec,
    topics: Topics,
    response: Response,
    query: Query,
    source: str,
    headers: Headers,
    on_committed: Callable[[], None] | None = None,
) -> list[Output]:
    """The records of one response, for the transaction that finishes its request."""
    value = codec.encode(response)
    key = response.query_id.encode()
    sent = event_headers("Response", response.query_id, source, headers)
    outputs = [Output(topics.responses, value, key, headers=sent, on_committed=on_committed)]
    reply = query.reply_to
    if reply is not None and topics.accepts_replies(reply.topic):
        # Whoever asked for the copy may have named a partition that is not there.
        outputs.append(Output(reply.topic, value, key, reply.partition, sent, is_optional=True))
    return outputs


def error_response(
    error: RequestError,
    query_id: str,
    origin: Origin,
    *,
    now: datetime,
    routing: Routing | None = None,
    attempt: int = 1,
    created_at: datetime | None = None,
) -> Response:
    """The response that tells a client why there is no answer."""
    total_ms = None if created_at is None else max(0.0, (now - created_at).total_seconds() * 1000)
    return Response(
        query_id=query_id,
        status="error",
        adapter=routing.adapter if routing else None,
        routing=routing,
        timing=Timing(routing_ms=routing.routing_ms if routing else None, total_ms=total_ms),
        error=error.to_info(),
        origin=origin,
        attempt=attempt,
        created_at=now,
    )


def queue_ms(request: InferenceRequest) -> float | None:
    """Milliseconds between the query's creation and the router's reading it."""
    created_at, routing = request.query.created_at, request.routing
    if created_at is None or routing.routed_at is None:
        return None
    until_routed_ms = (routing.routed_at - created_at).total_seconds() * 1000
    return max(0.0, until_routed_ms - (routing.routing_ms or 0.0))


def from_timestamp(milliseconds: int) -> datetime:
    """A Kafka record's timestamp as a time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
