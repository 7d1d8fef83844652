"""The steps of a canary's trial: its beginning, and the three ways it may end. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from schemas.errors import ChangeRefused
from schemas.records import AdapterVersion, Canary, TrafficShare
from streams.registry.change import (
    Change,
    Intent,
    adapters,
    arm_names,
    changed,
    check_revision,
    following,
    found,
    history,
    known,
    shadow_ended,
    stamped,
)
from streams.registry.lifecycle import promoted, rolled_back
from streams.registry.reader import Registry
from streams.registry.traffic import laid_out


def canary_started(registry: Registry, plan: Canary, intent: Intent) -> Change:
    """The version gets its share of the family's sessions, or none in shadow, to be judged."""
    version = registry.get(plan.adapter)
    if version is None:
        raise ChangeRefused(f"There is no version {plan.adapter}.")
    family = version.family
    check_revision(registry, family, intent)
    before, now = registry.traffic(family), registry.shares(family)
    if before.canary:
        raise ChangeRefused(
            f"{before.canary.adapter} is on trial already, until {before.canary.ends_at:%H:%M:%S} "
            f"UTC: promote it or roll {family} back first."
        )
    if not now:
        raise ChangeRefused(
            f"Nobody of {family} serves, so there is nothing to compare with: promote it instead."
        )
    if version.key in adapters(now):
        raise ChangeRefused(f"{version.key} serves already: a canary is a version without a share.")
    shares, previous = before.shares or laid_out(now), before.previous
    if not plan.shadow:
        previous = history(registry, family)
        shares = _beside(registry, now, version, plan.share)
    if before.updated_at is not None:
        # By a clock that is behind: what the version did in the split before is no part of it.
        plan = replace(plan, started_at=max(plan.started_at, before.updated_at))
    traffic = replace(following(before, shares, previous, intent), canary=plan)
    return changed(registry, traffic, "canary_started", intent, main=version.key)


def canary_passed(registry: Registry, family: str, intent: Intent) -> Change:
    """The canary takes all; one that was in shadow stands by, for people to decide."""
    plan = _on_trial(registry, family, intent)
    if plan.shadow:
        return shadow_ended(registry, family, intent, "shadow_passed", "registered")
    return promoted(registry, known(registry, family, plan.adapter), intent)


def canary_failed(registry: Registry, family: str, intent: Intent) -> Change:
    """The split before the canary; it has failed."""
    plan = _on_trial(registry, family, intent)
    if plan.shadow:
        return shadow_ended(registry, family, intent, "shadow_failed", "failed")
    return rolled_back(registry, family, intent)


def canary_undecided(registry: Registry, family: str, intent: Intent) -> Change:
    """The split before the canary; nothing is known against it, and it stands by."""
    plan = _on_trial(registry, family, intent)
    if plan.shadow:
        return shadow_ended(registry, family, intent, "shadow_undecided", "registered")
    before = registry.traffic(family)
    target, *older = before.previous
    traffic = replace(stamped(before, intent), shares=target.shares, previous=tuple(older))
    return changed(registry, traffic, "canary_undecided", intent, main=plan.adapter)


def _on_trial(registry: Registry, family: str, intent: Intent) -> Canary:
    check_revision(registry, family, intent)
    plan = registry.traffic(family).canary
    if plan is None:
        raise ChangeRefused(f"No version of {family} is on trial.")
    return plan


def _beside(
    registry: Registry, now: Sequence[TrafficShare], version: AdapterVersion, percent: float
) -> tuple[TrafficShare, ...]:
    """The shares as they stand among themselves, and the canary's."""
    total = sum(share.weight for share in now)
    kept = [(s, s.weight / total * (100.0 - percent)) for s in now]
    versions = [*found(registry, (s.adapter for s in now)), version]
    names = arm_names(versions)
    shares = [
        replace(share, weight=weight, variant=name)
        for (share, weight), name in zip(kept, names, strict=False)
    ]
    return (*shares, TrafficShare(version.key, percent, names[-1]))
