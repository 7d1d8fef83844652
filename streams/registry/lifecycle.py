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


def rolled_back(registry: Registry, family: str, intent: Intent) -> Change:
    """The split before this one; versions that only this one had have failed."""
    check_revision(registry, family, intent)
    before = registry.traffic(family)
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
        traffic = replace(_stamped(before, intent), previous=previous)
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
    events = [
        LifecycleEvent(
            traffic.family,
            event,
            adapter=main,
            from_status=about.status if about else None,
            to_status="active" if about else None,
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
    ids = {version.adapter_id for version in _versions(registry, serving)}
    for version in registry.of_family(traffic.family):
        if version.key in serving:
            yield version, "active"
        elif version.key in failed:
            yield version, "failed"
        elif version.status == "canary" or (
            version.status == "active" and version.adapter_id in ids
        ):
            yield version, "registered"


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
    return replace(
        before, revision=before.revision + 1, updated_by=intent.actor, updated_at=intent.at
    )


def _history(registry: Registry, family: str) -> tuple[TrafficSplit, ...]:
    """The present split and those before it, as the next record remembers them."""
    before, now = registry.traffic(family), registry.shares(family)
    if not now:
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
