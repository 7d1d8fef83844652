"""Each family's split, and its canary. Pure."""

from collections import Counter
from typing import Any, Final

from schemas.records import Canary
from streams.gateway.dashboard.times import milliseconds
from streams.registry.reader import Registry

_MOST: Final = 200


def families(registry: Registry) -> list[dict[str, Any]]:
    """A row for each family, in order; shares in percent, times in milliseconds since 1970."""
    return [_family(registry, name) for name in registry.families()[:_MOST]]


def _family(registry: Registry, name: str) -> dict[str, Any]:
    traffic, shares = registry.traffic(name), registry.shares(name)
    total = sum(share.weight for share in shares)
    serving = {share.adapter for share in shares}
    others = [v for v in registry.of_family(name) if v.key not in serving]
    return {
        "family": name,
        "revision": traffic.revision,
        "updated_by": traffic.updated_by,
        "updated_at": milliseconds(traffic.updated_at),
        "shares": [
            {
                "adapter": share.adapter,
                "variant": share.variant,
                "percent": 100.0 * share.weight / total,
                "status": version.status if (version := registry.get(share.adapter)) else None,
            }
            for share in shares
        ],
        "canary": None if traffic.canary is None else _canary(traffic.canary),
        "others": Counter(version.status for version in others),
    }


def _canary(canary: Canary) -> dict[str, Any]:
    return {
        "adapter": canary.adapter,
        "percent": canary.share,
        "shadow": canary.shadow,
        "started_at": milliseconds(canary.started_at),
        "ends_at": milliseconds(canary.ends_at),
    }
