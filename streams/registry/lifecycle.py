"""The steps that people take with a version: what each changes. Pure.

docs/versions.md tells what the states mean and which steps lead from one to another.
"""

from collections.abc import Mapping
from dataclasses import replace

from schemas.errors import ChangeRefused
from schemas.records import AdapterVersion, TrafficShare, TrafficSplit
from streams.registry.change import (
    Change,
    Intent,
    adapters,
    arm_names,
    changed,
    check_revision,
    following,
    history,
    known,
    shadow_ended,
    stamped,
    version_event,
    weights_of,
    whole,
)
from streams.registry.reader import Registry


def registered(registry: Registry, version: AdapterVersion, intent: Intent) -> Change:
    """A new version: it stands by, unless nobody of its family serves, or else takes all."""
    before = registry.traffic(version.family)
    if registry.shares(version.family):
        waiting = replace(version, status="registered")
        event = version_event("registered", waiting, None, before.revision, intent)
        return Change(version.family, (waiting,), None, (event,))
    first = replace(version, status="active")
    traffic = following(before, (whole(first, 100.0),), before.previous, intent)
    event = replace(
        version_event("registered", first, None, traffic.revision, intent),
        shares=weights_of(traffic),
    )
    return Change(version.family, (first,), traffic, (event,))


def promoted(registry: Registry, version: AdapterVersion, intent: Intent) -> Change:
    """The version takes all queries of its family."""
    family = version.family
    check_revision(registry, family, intent)
    is_so = version.status == "active" and adapters(registry.shares(family)) == {version.key}
    refusal = f"{version.key} is active already and takes all of {family}."
    previous = _previous(registry, family, is_so, refusal)
    shares = (whole(version, 100.0),)
    traffic = following(registry.traffic(family), shares, previous, intent)
    return changed(registry, traffic, "promoted", intent, main=version.key)


def split(registry: Registry, family: str, weights: Mapping[str, float], intent: Intent) -> Change:
    """The family's queries are split over its versions, by ``id@version``, with these weights."""
    check_revision(registry, family, intent)
    arms = [(known(registry, family, key), weight) for key, weight in weights.items()]
    names = arm_names([version for version, _ in arms])
    shares = tuple(
        TrafficShare(version.key, weight, name)
        for (version, weight), name in zip(arms, names, strict=True)
    )
    is_so = [*map(_bare, registry.shares(family))] == [*map(_bare, shares)]
    previous = _previous(registry, family, is_so, f"{family} is split so already.")
    traffic = following(registry.traffic(family), shares, previous, intent)
    return changed(registry, traffic, "split", intent)


def rolled_back(registry: Registry, family: str, intent: Intent) -> Change:
    """The split before this one; versions that only this one had have failed.

    Of a trial it is the end, in shadow too.
    """
    check_revision(registry, family, intent)
    before = registry.traffic(family)
    if before.canary and before.canary.shadow:
        return shadow_ended(registry, family, intent, "rolled_back", "failed")
    if not before.previous:
        raise ChangeRefused(
            f"{family} has no split before this one: `lorelay adapters promote` names a version."
        )
    target, *older = before.previous
    for share in target.shares:
        version = known(registry, family, share.adapter)
        if version.status in ("retired", "failed"):
            raise ChangeRefused(
                f"The split before has {version.key}, which is {version.status}: promote or split "
                "names what shall serve instead."
            )
    restored = {share.adapter for share in target.shares}
    dropped = {share.adapter for share in before.shares} - restored
    traffic = replace(stamped(before, intent), shares=target.shares, previous=tuple(older))
    return changed(registry, traffic, "rolled_back", intent, failed=dropped)


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
    if trial and version.key in {trial.adapter, *adapters(now)}:
        raise ChangeRefused(
            f"{trial.adapter} is on trial beside what serves: promote it or roll {family} back "
            "first."
        )
    left = tuple(share for share in now if share.adapter != version.key)
    if now and not left and not even_the_last:
        family_of_it = registry.of_family(family)
        others = [v for v in family_of_it if v.status == "active" and v.key != version.key]
        then = f"{others[0].key} would answer then" if others else "nobody would answer then"
        raise ChangeRefused(
            f"{version.key} takes all of {family}, which {then}: promote another version first, or "
            "say --force."
        )
    before = registry.traffic(family)
    previous = tuple(s for s in before.previous if version.key not in adapters(s.shares))
    traffic = None
    if left != now:
        traffic = following(before, left, previous, intent)
    elif previous != before.previous:
        traffic = replace(stamped(before, intent), previous=previous, canary=trial)
    gone = replace(version, status="retired")
    event = version_event("retired", gone, version.status, (traffic or before).revision, intent)
    if traffic:
        event = replace(event, shares=weights_of(traffic))
    return Change(family, (gone,), traffic, (event,))


def _previous(
    registry: Registry, family: str, is_so: bool, refusal: str
) -> tuple[TrafficSplit, ...]:
    """What a rollback goes back to. Where all is so already, a trial ends and nothing else.

    Raises ChangeRefused where there is no trial either.
    """
    if not is_so:
        return history(registry, family)
    before = registry.traffic(family)
    if before.canary is None:
        raise ChangeRefused(refusal)
    return before.previous


def _bare(share: TrafficShare) -> tuple[str, float]:
    return share.adapter, share.weight
