"""What is written together when a version's life takes a step, and what follows from a split. Pure.

A change is written whole or not at all, and its Traffic record alone decides who gets a family's
queries: a reader that has seen only half of it serves either what was, or what will be.
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


def changed(
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
    weights = weights_of(traffic)
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
        version_event(_EVENTS[after.status], after, before.status, traffic.revision, intent)
        for before, after in stepped
        if after.key != main
    ]
    versions = tuple(after for _, after in stepped)
    return Change(traffic.family, versions, traffic, tuple(events))


def _statuses(
    registry: Registry, traffic: Traffic, failed: Collection[str]
) -> Iterator[tuple[AdapterVersion, AdapterStatus]]:
    """The state of each of the family's versions under the split.

    An id whose versions have no share keeps its active one, for queries that name the id: on trial,
    too.
    """
    serving = adapters(traffic.shares)
    trial = traffic.canary.adapter if traffic.canary else None
    ids = {version.adapter_id for version in found(registry, serving - {trial})}
    for version in registry.of_family(traffic.family):
        if version.key == trial:
            yield version, version.status if version.status == "active" else "canary"
        elif version.key in serving:
            yield version, "active"
        elif version.key in failed:
            yield version, "failed"
        elif version.status == "canary" or (
            version.status == "active" and version.adapter_id in ids
        ):
            yield version, "registered"


def shadow_ended(
    registry: Registry, family: str, intent: Intent, event: str, status: AdapterStatus
) -> Change:
    """The split is as it was: a shadow has no part in it.

    Nor in what an active version does for queries that name its id.
    """
    before = registry.traffic(family)
    assert before.canary is not None
    key = before.canary.adapter
    shadow = registry.get(key)
    is_at_fault = status == "failed" and shadow is not None and shadow.status == "canary"
    failed = {key} if is_at_fault else ()
    return changed(registry, stamped(before, intent), event, intent, main=key, failed=failed)


def known(registry: Registry, family: str, key: str) -> AdapterVersion:
    """The family's version of that key. Raises ChangeRefused."""
    version = registry.get(key)
    if version is None or version.family != family:
        raise ChangeRefused(f"{family} has no version {key}: `lorelay adapters list --all`.")
    return version


def following(
    before: Traffic,
    shares: Sequence[TrafficShare],
    previous: tuple[TrafficSplit, ...],
    intent: Intent,
) -> Traffic:
    """The record that follows ``before``, with the fewest sessions moved."""
    laid = laid_out(shares, before.shares) if shares else ()
    return replace(stamped(before, intent), shares=laid, previous=previous)


def stamped(before: Traffic, intent: Intent) -> Traffic:
    """The next record; every change ends a trial, unless it says otherwise."""
    return replace(
        before,
        revision=before.revision + 1,
        updated_by=intent.actor,
        updated_at=intent.at,
        canary=None,
    )


def history(registry: Registry, family: str) -> tuple[TrafficSplit, ...]:
    """The present split and those before it, as the next record remembers them.

    A trial's own is none that anybody would go back to.
    """
    before, now = registry.traffic(family), registry.shares(family)
    if not now or (before.canary and not before.canary.shadow):
        return before.previous
    kept = TrafficSplit(before.revision, before.shares or laid_out(now))
    return (kept, *before.previous)[:MOST_PREVIOUS]


def whole(version: AdapterVersion, weight: float) -> TrafficShare:
    """A share whose arm is called by the version's major."""
    return TrafficShare(version.key, weight, variant_name(version))


def arm_names(versions: Sequence[AdapterVersion]) -> list[str]:
    """A name for each arm: its major, and its version where two share that."""
    majors = [variant_name(version) for version in versions]
    return [
        variant_name(version, is_exact=majors.count(major) > 1)
        for version, major in zip(versions, majors, strict=True)
    ]


def found(registry: Registry, keys: Iterable[str]) -> list[AdapterVersion]:
    """The versions of those keys, as far as they are there."""
    return [version for key in keys if (version := registry.get(key)) is not None]


def adapters(shares: Iterable[TrafficShare]) -> set[str]:
    """Whose shares they are."""
    return {share.adapter for share in shares}


def weights_of(traffic: Traffic) -> dict[str, float]:
    """The weights of the split, by ``id@version``."""
    return {share.adapter: share.weight for share in traffic.shares}


def version_event(
    name: str, version: AdapterVersion, before: AdapterStatus | None, revision: int, intent: Intent
) -> LifecycleEvent:
    """What has happened to a version that was in the state ``before``."""
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
