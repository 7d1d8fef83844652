"""From a query to its request: which adapter, and why. Pure."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import NamedTuple

import orjson

from schemas.errors import DeadlineExceeded, UnknownAdapter
from schemas.records import BASE, PREVIOUS, InferenceRequest, Origin, Query, Routing
from schemas.validation import is_answerable
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
    """The id in a JSON query that can't be read as a whole, so that its client learns of it.

    None where a response can't go by it.
    """
    try:
        content = orjson.loads(payload.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    found = content.get("id") if isinstance(content, dict) else None
    return found if isinstance(found, str) and is_answerable(found) else None


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


def session_of(query: Query) -> str:
    """What a query keeps its place in a traffic split by: its session, else its id."""
    return query.session or query.id or ""


def explicit_routing(query: Query, registry: Registry) -> Routing:
    """The routing of a query that names its adapter, or what its fallback makes of it.

    Raises: UnknownAdapter.
    """
    assert query.adapter is not None
    if query.adapter == BASE:
        return Routing(adapter=None, reason="the query asks for the base model", score=None)
    reason = f"the query names {query.adapter}"
    try:
        chosen = registry.choose(query.adapter, session_of(query))
    except UnknownAdapter as error:
        if error.state is None:
            raise
        return _fallen_back(query, registry, f"{reason}, which {error.state}", error)
    return Routing(adapter=chosen.version.key, variant=chosen.variant, reason=reason)


def _fallen_back(query: Query, registry: Registry, reason: str, error: UnknownAdapter) -> Routing:
    """The routing where what the query names is registered, but out of use."""
    if query.fallback == BASE:
        return Routing(adapter=None, reason=f"{reason}: the base model answers instead")
    if query.fallback == PREVIOUS and (older := registry.older(error.reference)):
        key = older[0].key
        return Routing(adapter=key, reason=f"{reason}: {key}, its version before, answers instead")
    raise error


def split_routing(routing: Routing, registry: Registry, session: str) -> Routing:
    """Selection's routing, with the version of the chosen family that the session falls to.

    Selection chooses among one version of each family, which stands for all of it. The base model
    answers where nobody of the family does any more.
    """
    if routing.adapter is None:
        return routing
    chosen = registry.choose_selected(routing.adapter, session)
    if chosen is None:
        reason = f"{routing.reason}; nobody of its family is in use: the base model answers instead"
        return replace(routing, adapter=None, reason=reason)
    key, reason = chosen.version.key, routing.reason
    if key != routing.adapter:
        reason = f"{reason}; of its family, {key} answers this session"
    return replace(routing, adapter=key, variant=chosen.variant, reason=reason)


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
