"""Responses for the tests of what the dashboard makes of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.records import Candidate, Origin, Response, Routing, Timing, Usage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEGAL, MEDICAL = "legal-qa-v1@1.0.0", "medical-qa-v1@1.0.0"
SELECTED = Routing(
    adapter=LEGAL,
    score=0.81,
    margin=0.3,
    threshold=0.4,
    reason="closest to legal-qa-v1@1.0.0",
    candidates=(Candidate(LEGAL, 0.81), Candidate(MEDICAL, 0.51)),
)
REJECTED = replace(SELECTED, adapter=None, score=0.21, candidates=(Candidate(LEGAL, 0.21),))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def response(offset: int = 0, routing: Routing | None = SELECTED, **changes: Any) -> Response:
    made = Response(
        query_id=f"q-{offset}",
        status="ok",
        text="Three months.",
        adapter=routing.adapter if routing else None,
        routing=routing,
        usage=Usage(3, 4),
        timing=Timing(total_ms=20.0, first_token_ms=5.0),
        origin=Origin("queries", 0, offset),
    )
    return replace(made, **changes)
