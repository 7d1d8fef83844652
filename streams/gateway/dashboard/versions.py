"""Latency and errors of each adapter version, from the windows of the metrics topic. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.records import AdapterMetrics
from streams.telemetry.tally import Tally

SPAN: Final = timedelta(minutes=5)
"""What the figures are over."""

#: A window is written some seconds after its end.
DELAY: Final = timedelta(seconds=30)
_MOST_VERSIONS: Final = 500


@dataclass(slots=True)
class _Version:
    """One version's windows by their ends, all partitions together, and what they add up to."""

    windows: dict[datetime, Tally] = field(default_factory=dict)
    starts: dict[datetime, datetime] = field(default_factory=dict)
    row: dict[str, Any] | None = None


class Versions:
    """The last SPAN of every version that was asked."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Version] = {}

    def add(self, window: AdapterMetrics) -> None:
        """A record of the metrics topic. Raises: ValueError where its sketch is none of ours."""
        number = window.adapter_version
        key = f"{window.adapter_id}@{number}" if number else window.adapter_id
        if key not in self._by_key and len(self._by_key) >= _MOST_VERSIONS:
            return
        version = self._by_key.setdefault(key, _Version())
        version.windows.setdefault(window.window_end, Tally()).absorb(window)
        version.starts[window.window_end] = window.window_start
        version.row = None

    def rows(self, now: datetime) -> list[dict[str, Any]]:
        """Each version's figures, the most asked first; durations in milliseconds."""
        oldest = now - SPAN - DELAY
        for key, version in list(self._by_key.items()):
            for end in [end for end in version.windows if end <= oldest]:
                del version.windows[end], version.starts[end]
                version.row = None
            if not version.windows:
                del self._by_key[key]
            elif version.row is None:
                version.row = _row(key, version)
        rows = [version.row for version in self._by_key.values() if version.row is not None]
        return sorted(rows, key=lambda row: (-row["requests"], row["adapter"]))


def _row(key: str, version: _Version) -> dict[str, Any]:
    total = Tally()
    for tally in version.windows.values():
        total.merge(tally)
    figures = total.record(key, 0, min(version.starts.values()), max(version.windows))
    return {
        "adapter": key,
        "requests": total.num_requests,
        "errors": total.num_errors,
        "rejects": total.num_rejects,
        "error_rate": figures.error_rate,
        "per_second": total.num_requests / SPAN.total_seconds(),
        "avg_ms": figures.avg_latency_ms,
        "p50_ms": figures.p50_latency_ms,
        "p95_ms": figures.p95_latency_ms,
        "first_p50_ms": figures.p50_first_token_ms,
        "first_p95_ms": figures.p95_first_token_ms,
        "queue_p95_ms": figures.p95_queue_ms,
        "tokens": total.completion_tokens,
        # When a window ended, how many it counts, and its own p95.
        "trend": [
            [int(end.timestamp()), tally.num_requests, tally.total.at(0.95)]
            for end, tally in sorted(version.windows.items())
        ],
    }
