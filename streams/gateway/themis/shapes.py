"""Adapter versions and their figures as ThemisDB writes them. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from schemas.errors import UnknownAdapter
from schemas.records import AdapterMetrics, AdapterVersion
from streams.registry.reader import Registry
from streams.telemetry.tally import combined


def registry_listing(versions: Sequence[AdapterVersion]) -> dict[str, Any]:
    """Every version whatever its state, and how many there are."""
    return {"adapters": [listed(version) for version in versions], "total": len(versions)}


def listed(version: AdapterVersion) -> dict[str, Any]:
    """A version's entry of the list."""
    return {
        "adapter_id": version.adapter_id,
        "adapter_version": version.adapter_version,
        "base_model": version.base_model.name,
        "domain": version.domain,
        "task_type": version.task_type,
        "status": version.status,
        "created_at": _text(version.created_at),
        "metrics": {
            "num_samples": version.training.num_samples,
            "compliance_rate": version.quality.compliance_rate,
            "avg_response_quality": version.quality.avg_response_quality,
        },
    }


def metadata(version: AdapterVersion) -> dict[str, Any]:
    """All of a version's metadata, nested as in ThemisDB's export; `register` reads it back."""
    artifact = version.artifact
    training = asdict(version.training)
    return {
        "adapter_id": version.adapter_id,
        "adapter_version": version.adapter_version,
        "base_model": asdict(version.base_model),
        "task": {
            "type": version.task_type,
            "domain": version.domain,
            "language": ",".join(version.languages),
        },
        "training": training | {"target_modules": list(version.training.target_modules)},
        "provenance": asdict(version.provenance),
        "quality": asdict(version.quality),
        "vllm": asdict(version.vllm)
        | {"enabled": True, "adapter_path": artifact.uri if artifact else None},
        "artifact": asdict(artifact) if artifact else None,
        "prompt_template": version.prompt_template,
        "custom": dict(version.custom),
        "family": version.family,
        "status": version.status,
        "created_at": _text(version.created_at),
    }


def figures(
    adapter: str, records: Sequence[AdapterMetrics], window: timedelta, now: datetime
) -> dict[str, Any]:
    """What the records of a window add up to, in the fields of ThemisDB's `adapter_metrics`.

    `timestamp` is the end of the newest window that is in it; the latencies are null where
    nothing was answered.
    """
    merged = combined(records, adapter, window)
    return {
        "adapter_id": adapter,
        "timestamp": _text(merged.window_end if merged else now),
        "num_requests": merged.num_requests if merged else 0,
        "avg_latency_ms": merged.avg_latency_ms if merged else None,
        "p95_latency_ms": merged.p95_latency_ms if merged else None,
        "error_rate": merged.error_rate if merged else 0.0,
        "throughput_qps": merged.throughput_qps if merged else 0.0,
    }


def named(registry: Registry, name: str) -> AdapterVersion:
    """The version `id@version`, whatever its state; of an id or family the one that serves, or
    else the newest. Raises: UnknownAdapter."""
    if (exact := registry.get(name)) is not None:
        return exact
    try:
        return registry.resolve(name)
    except UnknownAdapter:
        those = [v for v in registry.versions() if name in (v.adapter_id, v.family)]
        if not those:
            raise
        return those[-1]


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
