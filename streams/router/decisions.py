"""From a query to its request: which adapter, and why. Pure."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import NamedTuple

import orjson

from schemas.errors import DeadlineExceeded
from schemas.records import BASE, InferenceRequest, Origin, Query, Routing
from streams.registry.reader import Registry
from streams.selection.decision import Decision


class Selected(NamedTuple):
    """A query that selection has decided on; ``language`` is the query's own word."""

    origin: Origin
    text: str
    language: str | None
    routing: Routing


def completed(query: Query, origin: Origin, sent_at: datetime) -> Query:
    """The query with its id, its time of creation and an absolute deadline filled in."""
    created_at = query.created_at or sent_at
    deadline = query.deadline
    if deadline is None and query.timeout_ms is not None:
        with suppress(OverflowError):  # beyond the calendar it never comes
            deadline = created_at + timedelta(milliseconds=query.timeout_ms)
    return replace(query, id=query.id or str(origin), created_at=created_at, deadline=deadline)


def claimed_id(payload: bytes) -> str | None:
    """The id in a JSON query that can't be read as a whole, so that its client learns of it."""
    try:
        content = orjson.loads(payload.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    found = content.get("id") if isinstance(content, dict) else None
    return found if isinstance(found, str) and found else None


def check_deadline(query: Query, now: datetime) -> None:
    """Raises: DeadlineExceeded where the query's time is over."""
    if query.deadline is not None and now >= query.deadline:
        late_ms = (now - query.deadline).total_seconds() * 1000
        raise DeadlineExceeded(f"The deadline passed {late_ms:.0f} ms before it was routed.")


def selection_text(query: Query) -> str:
    """What selection looks at: the prompt, or the newest thing that the user said."""
    if query.prompt is not None:
        return query.prompt
    for message in reversed(query.messages):
        if message.role == "user":
            return message.content
    return query.messages[-1].content if query.messages else ""


def needs_selection(query: Query) -> bool:
    """Whether the query leaves the choice of the adapter to us."""
    return query.adapter is None


def explicit_routing(query: Query, registry: Registry) -> Routing:
    """The routing of a query that names its adapter. Raises: UnknownAdapter."""
    assert query.adapter is not None
    if query.adapter == BASE:
        return Routing(adapter=None, reason="the query asks for the base model", score=None)
    version = registry.resolve(query.adapter)
    return Routing(adapter=version.key, reason=f"the query names {query.adapter}")


def selected_routing(decision: Decision) -> Routing:
    """The routing that selection decided."""
    return Routing(
        adapter=decision.adapter,
        score=decision.score,
        margin=decision.margin,
        probability=decision.probability,
        threshold=decision.threshold,
        reason=decision.reason,
        language=decision.language,
        candidates=decision.candidates,
    )


def request(
    query: Query, origin: Origin, routing: Routing, revision: int, now: datetime, arrived: float
) -> InferenceRequest:
    """The request for the workers; `arrived` is when the query was read (`perf_counter`)."""
    timed = replace(routing, routed_at=now, routing_ms=(perf_counter() - arrived) * 1000)
    return InferenceRequest(query=query, routing=timed, origin=origin, registry_revision=revision)
