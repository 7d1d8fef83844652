"""Which versions an operator means by a name, for changes to their life. Pure.

A name that leaves the version open never means one that is retired or has failed: those come
back only by their exact names.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

from schemas.errors import ChangeRefused, UnknownAdapter
from schemas.records import AdapterVersion
from streams.registry.reader import Registry
from streams.registry.version import split_key

_MAJOR: Final = re.compile(r"v(0|[1-9][0-9]*)")
_NONE_LEFT: Final = "has no version that is neither retired nor failed"


def family_of(registry: Registry, reference: str) -> str:
    """The family that a family's, id's or version's name belongs to. Raises UnknownAdapter."""
    if reference in registry.families():
        return reference
    adapter_id, number = split_key(reference)
    for version in registry.versions():
        if version.adapter_id == adapter_id and number in ("", version.adapter_version):
            return version.family
    registry.resolve(reference)
    raise UnknownAdapter(reference)


def newest(registry: Registry, reference: str) -> AdapterVersion:
    """The version itself, or the newest of an id; of a family its canary, or its only version.

    Raises UnknownAdapter; ChangeRefused for a family that leaves it open.
    """
    if exact := registry.get(reference):
        return exact
    family = family_of(registry, reference)
    servable = _servable(registry, family)
    if reference != family:
        return _first(reference, [v for v in servable if v.adapter_id == reference])
    trial = registry.traffic(family).canary
    canaries = [v for v in servable if v.status == "canary" or (trial and v.key == trial.adapter)]
    if len(found := canaries or servable) > 1:
        names = ", ".join(version.key for version in found)
        raise ChangeRefused(f"{family} has several versions, name one of them: {names}.")
    return _first(reference, found)


def weights(registry: Registry, family: str, arms: Sequence[str]) -> dict[str, float]:
    """The weights by ``id@version`` of arms such as ``v1=90`` or ``legal-qa-v2@2.1.0=10``.

    A bare major or id means its version in the present split, else its active one, else its
    newest. Raises ChangeRefused, UnknownAdapter.
    """
    found: dict[str, float] = {}
    for arm in arms:
        name, _, weight = arm.rpartition("=")
        version = _arm(registry, family, name)
        if version.key in found:
            raise ChangeRefused(f"{version.key} is named twice.")
        found[version.key] = _weight(arm, weight)
    return found


def _arm(registry: Registry, family: str, name: str) -> AdapterVersion:
    major, _, number = name.partition("@")
    adapter_id = f"{family}-{major}" if _MAJOR.fullmatch(major) else major
    if number:
        if exact := registry.get(f"{adapter_id}@{number}"):
            return exact
        registry.resolve(f"{adapter_id}@{number}")
    servable = [v for v in _servable(registry, family) if v.adapter_id == adapter_id]
    if not servable:
        known = {v.adapter_id for v in registry.of_family(family)}
        if adapter_id in known:
            raise UnknownAdapter(adapter_id, state=_NONE_LEFT)
        raise ChangeRefused(
            f"{name or 'An arm'} is no version of {family}: write arms as v1=90, with a major or "
            f"an id of {', '.join(sorted(known))}, or id@version."
        )
    shared = [share.adapter for share in registry.shares(family)]
    return min(servable, key=lambda v: (v.key not in shared, v.status != "active"))


def _weight(arm: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ChangeRefused(
            f"{arm} has no weight above 0: write v1=90; what shall get nothing is left out."
        )
    return weight


def _servable(registry: Registry, family: str) -> list[AdapterVersion]:
    return [v for v in registry.of_family(family) if registry.is_servable(v.key)]


def _first(reference: str, found: Iterable[AdapterVersion]) -> AdapterVersion:
    for version in found:
        return version
    raise UnknownAdapter(reference, state=_NONE_LEFT)
