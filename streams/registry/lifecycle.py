"""What each step in the life of a version changes: states, split and events. Pure.

docs/versions.md tells what the states mean and which steps lead from one to another. A change is
written whole or not at all, and its Traffic record alone decides who gets a family's queries: a
reader that has seen only half of it serves either what was, or what will be.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from schemas.errors import ChangeRefused, RegistryConflict
from schemas.records import (
    AdapterStatus,
    AdapterVersion,
    Canary,
    LifecycleEvent,
    Traffic,
    TrafficShare,
    TrafficSplit,
)
from streams.registry.reader import Registry
from streams.registry.traffic import laid_out
from streams.registry.version import variant_name

MOST_PREVIOUS: Final = 10
"""How many splits a rollback can go back, one after the other."""

_EVENTS: Final[Mapping[AdapterStatus, str]] = {
    "active": "activated",
    "registered": "superseded",
    "failed": "failed",
    "retired": "retired",
}


@dataclass(frozen=True, slots=True)
class Intent:
    """Who wants a change, when, why and on which figures.

    ``expected_revision`` is the revision of the family's split that it was decided on; None where
    it was not looked at.
    """

    actor: str
    at: datetime
    reason: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    expected_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is written together; ``traffic`` is None where the split stays as it is."""

    family: str
    versions: tuple[AdapterVersion, ...]
    traffic: Traffic | None
    events: tuple[LifecycleEvent, ...]


def registered(registry: Registry, version: AdapterVersion, intent: Intent) -> Change:
    """A new version: it stands by, unless nobody of its family serves, or else takes all."""
    before = registry.traffic(version.family)
    if registry.shares(version.family):
        waiting = replace(version, status="registered")
        event = _event("registered", waiting, None, before.revision, intent)
        return Change(version.family, (waiting,), None, (event,))
    first = replace(version, status="active")
    traffic = _next(before, (_share(first, 100.0),), before.previous, intent)
    event = replace(
        _event("registered", first, None, traffic.revision, intent), shares=_weights(traffic)
    )
    return Change(version.family, (first,), traffic, (event,))


def promoted(registry: Registry, version: AdapterVersion, intent: Intent) -> Change:
    """The version takes all queries of its family."""
    family = version.family
    check_revision(registry, family, intent)
    now = registry.shares(family)
    if version.status == "active" and [share.adapter for share in now] == [version.key]:
        raise ChangeRefused(f"{version.key} is active already and takes all of {family}.")
    shares = (_share(version, 100.0),)
    traffic = _next(registry.traffic(family), shares, _history(registry, family), intent)
    return _change(registry, traffic, "promoted", intent, main=version.key)


def split(registry: Registry, family: str, weights: Mapping[str, float], intent: Intent) -> Change:
    """The family's queries are split over its versions, by ``id@version``, with these weights."""
    check_revision(registry, family, intent)
    arms = [(_known(registry, family, key), weight) for key, weight in weights.items()]
    names = _arm_names([version for version, _ in arms])
    shares = tuple(
        TrafficShare(version.key, weight, name)
        for (version, weight), name in zip(arms, names, strict=True)
    )
    now = registry.shares(family)
    if [_bare(share) for share in now] == [_bare(share) for share in shares]:
        raise ChangeRefused(f"{family} is split so already.")
    traffic = _next(registry.traffic(family), shares, _history(registry, family), intent)
    return _change(registry, traffic, "split", intent)


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
    if version.key in _adapters(now):
        raise ChangeRefused(f"{version.key} serves already: a canary is a version without a share.")
    shares, previous = before.shares or laid_out(now), before.previous
    if not plan.shadow:
        previous = _history(registry, family)
        shares = _beside(registry, now, version, plan.share)
    traffic = replace(_next(before, shares, previous, intent), canary=plan)
    return _change(registry, traffic, "canary_started", intent, main=version.key)


def canary_passed(registry: Registry, family: str, intent: Intent) -> Change:
    """The canary takes all; one that was in shadow stands by, for people to decide."""
    plan = _on_trial(registry, family, intent)
    if plan.shadow:
        return _shadow_ended(registry, family, intent, "shadow_passed", "registered")
    return promoted(registry, _known(registry, family, plan.adapter), intent)


def canary_failed(registry: Registry, family: str, intent: Intent) -> Change:
    """The split before the canary; it has failed."""
    plan = _on_trial(registry, family, intent)
    if plan.shadow:
        return _shadow_ended(registry, family, intent, "shadow_failed", "failed")
    return rolled_back(registry, family, intent)


def canary_undecided(registry: Registry, family: str, intent: Intent) -> Change:
    """The split before the canary; nothing is known against it, and it stands by."""
    plan = _on_trial(registry, family, intent)
    if plan.shadow:
        return _shadow_ended(registry, family, intent, "shadow_undecided", "registered")
    before = registry.traffic(family)
    target, *older = before.previous
    traffic = replace(_stamped(before, intent), shares=target.shares, previous=tuple(older))
    return _change(registry, traffic, "canary_undecided", intent, main=plan.adapter)


def rolled_back(registry: Registry, family: str, intent: Intent) -> Change:
    """The split before this one; versions that only this one had have failed.

    Of a trial it is the end, in shadow too.
    """
    check_revision(registry, family, intent)
    before = registry.traffic(family)
    if before.canary and before.canary.shadow:
        return _shadow_ended(registry, family, intent, "rolled_back", "failed")
    if not before.previous:
        raise ChangeRefused(
            f"{family} has no split before this one: `lorelay adapters promote` names a version."
        )
    target, *older = before.previous
    for share in target.shares:
        version = _known(registry, family, share.adapter)
        if version.status == "retired":
            raise ChangeRefused(
                f"The split before has {version.key}, which is retired: promote or split names "
                "what shall serve instead."
            )
    restored = {share.adapter for share in target.shares}
    dropped = {share.adapter for share in before.shares} - restored
    traffic = replace(_stamped(before, intent), shares=target.shares, previous=tuple(older))
    return _change(registry, traffic, "rolled_back", intent, failed=dropped)


def retired(
    registry: Registry, version: AdapterVersion, intent: Intent, *, even_the_last: bool = False
) -> Change:
    """The version gets nothing any more; what it had goes to the others of the split."""
    family = version.family
    check_revision(registry, family, intent)
    if version.status == "retired":
        raise ChangeRefused(f"{version.key} is retired already.")
    now = registry.shares(family)
    trial = registry.traffic(family).canary
    if trial and version.key in {trial.adapter, *_adapters(now)}:
        raise ChangeRefused(
            f"{trial.adapter} is on trial beside what serves: promote it or roll {family} back "
            "first."
        )
    left = tuple(share for share in now if share.adapter != version.key)
    if now and not left and not even_the_last:
        raise ChangeRefused(
            f"{version.key} takes all of {family}, which nobody would answer then: promote another "
            "version first, or say --force."
        )
    before = registry.traffic(family)
    previous = tuple(s for s in before.previous if version.key not in _adapters(s.shares))
    traffic = None
    if left != now:
        traffic = _next(before, left, previous, intent)
    elif previous != before.previous:
        traffic = replace(_stamped(before, intent), previous=previous, canary=trial)
    gone = replace(version, status="retired")
    event = _event("retired", gone, version.status, (traffic or before).revision, intent)
    if traffic:
        event = replace(event, shares=_weights(traffic))
    return Change(family, (gone,), traffic, (event,))


def check_revision(registry: Registry, family: str, intent: Intent) -> None:
    """Raises RegistryConflict where somebody has changed the split since it was looked at."""
    found = registry.traffic(family)
    expected = intent.expected_revision
    if expected is None or found.revision == expected:
        return
    whom = f" by {found.updated_by}" if found.updated_by else ""
    when = f" at {found.updated_at:%Y-%m-%d %H:%M:%S} UTC" if found.updated_at else ""
    raise RegistryConflict(
        f"The split of {family} is at revision {found.revision}, not {expected}: it was "
        f"changed{whom}{when}, and nothing was written now. Look at it and try again."
    )


def _change(
    registry: Registry,
    traffic: Traffic,
    event: str,
    intent: Intent,
    *,
    main: str | None = None,
    failed: Collection[str] = (),
) -> Change:
    """The change to this split, with the states that follow from it.

    ``main`` is the version that the event is about, if it is one; ``failed`` are those that it
    finds fault with.
    """
    stepped = [
        (version, replace(version, status=status))
        for version, status in _statuses(registry, traffic, failed)
        if version.status != status
    ]
    # Whoever serves from now on comes first: at no time an id has nobody active.
    stepped.sort(key=lambda step: step[1].status != "active")
    weights = _weights(traffic)
    about = registry.get(main) if main else None
    after_it = next((after for _, after in stepped if after.key == main), about)
    events = [
        LifecycleEvent(
            traffic.family,
            event,
            adapter=main,
            from_status=about.status if about else None,
            to_status=after_it.status if after_it else None,
            actor=intent.actor,
            reason=intent.reason,
            figures=intent.figures,
            revision=traffic.revision,
            shares=weights,
            created_at=intent.at,
        )
    ]
    events += [
        _event(_EVENTS[after.status], after, before.status, traffic.revision, intent)
        for before, after in stepped
        if after.key != main
    ]
    versions = tuple(after for _, after in stepped)
    return Change(traffic.family, versions, traffic, tuple(events))


def _statuses(
    registry: Registry, traffic: Traffic, failed: Collection[str]
) -> Iterator[tuple[AdapterVersion, AdapterStatus]]:
    """The state of each of the family's versions under the split.

    An id whose versions have no share keeps its active one, for queries that name the id.
    """
    serving = _adapters(traffic.shares)
    trial = traffic.canary.adapter if traffic.canary else None
    ids = {version.adapter_id for version in _versions(registry, serving - {trial})}
    for version in registry.of_family(traffic.family):
        if version.key == trial:
            yield version, "canary"
        elif version.key in serving:
            yield version, "active"
        elif version.key in failed:
            yield version, "failed"
        elif version.status == "canary" or (
            version.status == "active" and version.adapter_id in ids
        ):
            yield version, "registered"


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
    versions = [*_versions(registry, (s.adapter for s in now)), version]
    names = _arm_names(versions)
    shares = [
        replace(share, weight=weight, variant=name)
        for (share, weight), name in zip(kept, names, strict=False)
    ]
    return (*shares, TrafficShare(version.key, percent, names[-1]))


def _shadow_ended(
    registry: Registry, family: str, intent: Intent, event: str, status: AdapterStatus
) -> Change:
    """The split is as it was: a shadow has no part in it."""
    before = registry.traffic(family)
    assert before.canary is not None
    failed = {before.canary.adapter} if status == "failed" else ()
    traffic = _stamped(before, intent)
    return _change(registry, traffic, event, intent, main=before.canary.adapter, failed=failed)


def _versions(registry: Registry, keys: Iterable[str]) -> list[AdapterVersion]:
    return [version for key in keys if (version := registry.get(key)) is not None]


def _known(registry: Registry, family: str, key: str) -> AdapterVersion:
    version = registry.get(key)
    if version is None or version.family != family:
        raise ChangeRefused(f"{family} has no version {key}: `lorelay adapters list --all`.")
    return version


def _next(
    before: Traffic,
    shares: Sequence[TrafficShare],
    previous: tuple[TrafficSplit, ...],
    intent: Intent,
) -> Traffic:
    """The record that follows ``before``, with the fewest sessions moved."""
    laid = laid_out(shares, before.shares) if shares else ()
    return replace(_stamped(before, intent), shares=laid, previous=previous)


def _stamped(before: Traffic, intent: Intent) -> Traffic:
    """The next record; every change ends a trial, unless it says otherwise."""
    return replace(
        before,
        revision=before.revision + 1,
        updated_by=intent.actor,
        updated_at=intent.at,
        canary=None,
    )


def _history(registry: Registry, family: str) -> tuple[TrafficSplit, ...]:
    """The present split and those before it, as the next record remembers them.

    A trial's own is none that anybody would go back to.
    """
    before, now = registry.traffic(family), registry.shares(family)
    if not now or (before.canary and not before.canary.shadow):
        return before.previous
    kept = TrafficSplit(before.revision, before.shares or laid_out(now))
    return (kept, *before.previous)[:MOST_PREVIOUS]


def _share(version: AdapterVersion, weight: float) -> TrafficShare:
    return TrafficShare(version.key, weight, variant_name(version))


def _arm_names(versions: Sequence[AdapterVersion]) -> list[str]:
    """A name for each arm: its major, and its version where two share that."""
    majors = [variant_name(version) for version in versions]
    return [
        variant_name(version, is_exact=majors.count(major) > 1)
        for version, major in zip(versions, majors, strict=True)
    ]


def _bare(share: TrafficShare) -> tuple[str, float]:
    return share.adapter, share.weight


def _adapters(shares: Iterable[TrafficShare]) -> set[str]:
    return {share.adapter for share in shares}


def _weights(traffic: Traffic) -> dict[str, float]:
    return {share.adapter: share.weight for share in traffic.shares}


def _event(
    name: str, version: AdapterVersion, before: AdapterStatus | None, revision: int, intent: Intent
) -> LifecycleEvent:
    return LifecycleEvent(
        version.family,
        name,
        adapter=version.key,
        from_status=before,
        to_status=version.status,
        actor=intent.actor,
        reason=intent.reason,
        figures=intent.figures,
        revision=revision,
        created_at=intent.at,
    )
