"""The newest answers and the decisions behind them. Pure."""

from collections import OrderedDict
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from schemas.records import BASE, Origin, Query, Response, Routing
from streams.gateway.dashboard.times import milliseconds
from streams.telemetry.metrics import choice_of

KEPT: Final = 50
"""How many of the newest answers are shown."""

_PROMPTS: Final = 1_000
_TEXT_CHARS: Final = 600
_REASON_CHARS: Final = 400
_CANDIDATES: Final = 5

Row = dict[str, Any]


class Answers:
    """The newest answers; texts among them only where that is allowed."""

    def __init__(self, *, with_text: bool) -> None:
        self._with_text = with_text
        self._latest: dict[str, Row] = {}
        self._news: dict[str, Row] = {}
        self._prompts: OrderedDict[str, str] = OrderedDict()

    def ask(self, origin: Origin, query: Query) -> None:
        """A query; its text goes with its answer, whichever is read first."""
        if not self._with_text:
            return
        name, prompt = str(origin), _shortened(_asked_text(query), _TEXT_CHARS)
        self._prompts[name] = prompt
        if len(self._prompts) > _PROMPTS:
            self._prompts.popitem(last=False)
        if (row := self._latest.get(name)) is not None and row["prompt"] is None:
            row["prompt"] = prompt
            self._news[name] = row

    def answer(self, response: Response, at: datetime) -> None:
        """A response, and when it was written."""
        name = str(response.origin)
        row = _row(name, response, at)
        if self._with_text:
            row["prompt"] = self._prompts.get(name)
            row["text"] = _shortened(response.text or "", _TEXT_CHARS)
        self._latest[name] = self._news[name] = row
        if len(self._latest) > 2 * KEPT:
            self._cut()

    def latest(self) -> list[Row]:
        """The newest KEPT, the newest first."""
        self._cut()
        return list(self._latest.values())

    def news(self) -> list[Row]:
        """Those of the latest that are new, or have changed, since the last call."""
        self._cut()
        news = [row for name, row in self._latest.items() if name in self._news]
        self._news.clear()
        return news

    def _cut(self) -> None:
        newest = sorted(self._latest.items(), key=lambda found: found[1]["at"], reverse=True)
        self._latest = dict(newest[:KEPT])


def _row(name: str, response: Response, at: datetime) -> Row:
    routing = response.routing or Routing()
    timing, error = response.timing, response.error
    return {
        "origin": name,
        "id": _shortened(response.query_id, 200),
        "at": milliseconds(at),
        "adapter": response.adapter or (BASE if response.routing else None),
        "routed_to": routing.adapter,
        "variant": routing.variant,
        "status": response.status,
        "finish": response.finish_reason,
        "error": None if error is None else _error(error.category, error.code, error.message),
        "choice": choice_of(routing) if response.routing else None,
        "score": routing.score,
        "margin": routing.margin,
        "threshold": routing.threshold,
        "probability": routing.probability,
        "reason": _shortened(routing.reason, _REASON_CHARS),
        "language": routing.language,
        "candidates": [asdict(candidate) for candidate in routing.candidates[:_CANDIDATES]],
        "total_ms": timing.total_ms,
        "queue_ms": timing.queue_ms,
        "routing_ms": timing.routing_ms,
        "first_token_ms": timing.first_token_ms,
        "inference_ms": timing.inference_ms,
        "tokens": response.usage.completion_tokens,
        "attempt": response.attempt,
    }


def _error(category: str, code: str, message: str) -> dict[str, str]:
    return {"category": category, "code": code, "message": _shortened(message, _REASON_CHARS)}


def _asked_text(query: Query) -> str:
    if query.prompt is not None:
        return query.prompt
    return query.messages[-1].content if query.messages else ""


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
