"""Who answered, and why: the `lorelay` field of an answer, and its x-lorelay-* headers. Pure."""

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from schemas.records import BASE, Response, Routing
from streams.registry.version import split_key

#: What a header takes as it is; the rest, line ends and umlauts among it, is percent-encoded.
_HEADER_TEXT = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def decision(response: Response) -> dict[str, Any]:
    """The `lorelay` field: the decision, the times in ms, and which query it was."""
    routing = response.routing or Routing()
    version = split_key(response.adapter)[1] if response.adapter else None
    return {
        "query_id": response.query_id,
        "adapter": response.adapter or BASE,
        "version": version,
        "base_model": response.base_model,
        "score": routing.score,
        "margin": routing.margin,
        "probability": routing.probability,
        "threshold": routing.threshold,
        "reason": routing.reason or None,
        "language": routing.language,
        "variant": routing.variant,
        "candidates": [asdict(candidate) for candidate in routing.candidates],
        "attempt": response.attempt,
        "timing": asdict(response.timing),
    }


def decision_headers(response: Response) -> dict[str, str]:
    """The same in headers, as far as a header can hold it."""
    routing = response.routing or Routing()
    numbers = {
        "score": routing.score,
        "margin": routing.margin,
        "probability": routing.probability,
        "total-ms": response.timing.total_ms,
    }
    texts = {
        "adapter": response.adapter or BASE,
        "base-model": response.base_model,
        "reason": routing.reason,
        "variant": routing.variant,
    }
    found = {name: f"{number:.4g}" for name, number in numbers.items() if number is not None}
    found |= {name: header_text(text) for name, text in texts.items() if text}
    return query_headers(response.query_id) | {f"x-lorelay-{k}": v for k, v in found.items()}


def query_headers(query_id: str) -> dict[str, str]:
    """What is known of every query that was sent."""
    shown = header_text(query_id)
    return {"x-request-id": shown, "x-lorelay-query-id": shown}


def header_text(text: str) -> str:
    """The text as a header's value."""
    return quote(text, safe=_HEADER_TEXT, errors="backslashreplace")
