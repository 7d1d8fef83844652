"""From a request to the engine's terms, and from its answer to a response. Pure."""

from datetime import datetime

from inference.engine.protocol import Completion, Generation, LoadedAdapter
from schemas.errors import DeadlineExceeded
from schemas.records import InferenceRequest, Response, Timing
from streams.kafka.answers import queue_ms


def generation(
    request: InferenceRequest, adapter: LoadedAdapter | None, *, overtakes: bool = False
) -> Generation:
    """What the engine is asked; its request id is unique to this attempt at this record."""
    query = request.query
    return Generation(
        request_id=f"{request.origin}-{request.attempt}",
        prompt=query.prompt,
        messages=query.messages,
        adapter=adapter,
        sampling=query.sampling,
        priority=query.priority,
        overtakes=overtakes,
        stream=query.stream,
    )


def check_deadline(request: InferenceRequest, now: datetime) -> None:
    """Raises: DeadlineExceeded where the query's time is over."""
    deadline = request.query.deadline
    if deadline is not None and now >= deadline:
        late_ms = (now - deadline).total_seconds() * 1000
        raise DeadlineExceeded(f"The deadline passed {late_ms:.0f} ms before the engine was free.")


def timing(
    request: InferenceRequest,
    completion: Completion | None,
    now: datetime,
    load_ms: float | None = None,
) -> Timing:
    """Where the time went, all in ms: up to the router, in it, in the engine, and in all."""
    created_at = request.query.created_at
    # A client's clock may be ahead of ours.
    total_ms = max(0.0, (now - created_at).total_seconds() * 1000) if created_at else None
    return Timing(
        queue_ms=queue_ms(request),
        routing_ms=request.routing.routing_ms,
        engine_queue_ms=completion.engine_queue_ms if completion else None,
        first_token_ms=completion.first_token_ms if completion else None,
        inference_ms=completion.inference_ms if completion else None,
        total_ms=total_ms,
        load_ms=load_ms,
    )


def answer(
    request: InferenceRequest,
    completion: Completion,
    served_by: str | None,
    base_model: str,
    now: datetime,
    load_ms: float | None = None,
) -> Response:
    """The response with the engine's answer; `served_by` is `id@version`, None the base model.

    `load_ms` is what it waited for its adapter to be loaded, None if it did not.
    """
    return Response(
        query_id=request.query.id or str(request.origin),
        status="ok",
        text=completion.text,
        finish_reason=completion.finish_reason,
        adapter=served_by,
        base_model=base_model,
        routing=request.routing,
        usage=completion.usage,
        timing=timing(request, completion, now, load_ms),
        origin=request.origin,
        attempt=request.attempt,
        registry_revision=request.registry_revision,
        created_at=now,
    )
