"""The workers, as their heartbeats tell. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from schemas.records import WorkerState
from streams.gateway.dashboard.times import milliseconds

#: One that said it stops is soon forgotten, one that has fallen silent is missed for longer.
_STOPPED: Final = timedelta(seconds=30)
_SILENT: Final = timedelta(hours=1)
_MOST: Final = 200


def workers(states: Iterable[WorkerState], now: datetime) -> list[dict[str, Any]]:
    """A row for each worker that lives, or is missed."""
    alive = [state for state in states if _is_shown(state, now)]
    return [_row(state) for state in sorted(alive, key=lambda state: state.worker_id)[:_MOST]]


def _is_shown(state: WorkerState, now: datetime) -> bool:
    if state.heartbeat_at is None:
        return False
    return now - state.heartbeat_at < (_STOPPED if state.status == "stopping" else _SILENT)


def _row(state: WorkerState) -> dict[str, Any]:
    return {
        "worker": state.worker_id,
        "status": state.status,
        "engine": state.engine,
        "base_model": str(state.base_model),
        "host": state.host,
        "in_flight": state.in_flight,
        "most_running": state.max_num_seqs,
        "places": state.max_loras,
        "resident": list(state.resident_adapters),
        "failed": dict(state.failed_adapters),
        "heartbeat_at": milliseconds(state.heartbeat_at),
        "started_at": milliseconds(state.started_at),
    }
