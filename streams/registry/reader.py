"""The registry in memory: what the records of its topics add up to. Pure."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from semver import Version

from schemas.errors import UnknownAdapter
from schemas.records import BASE, AdapterVersion, Example, ExampleSet, Traffic, TrafficShare
from streams.registry.near import near_names
from streams.registry.traffic import Split
from streams.registry.version import parse, split_key, variant_name

_SERVABLE: Final = ("active", "canary", "registered")

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Selectable:
    """A version that selection may choose, and what it learns from."""

    version: AdapterVersion
    examples: tuple[Example, ...]

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that the adapter answers in; empty where it does not say."""
        return self.version.languages


@dataclass(frozen=True, slots=True)
class Chosen:
    """The version that answers a query, and the arm of its family's split that it stands for.

    No arm where the query names the version itself: that passes the split by.
    """

    version: AdapterVersion
    variant: str | None = None


@dataclass(slots=True)
class _Parts:
    """The parts of a version's examples that have arrived."""

    count: int = 0
    found: dict[int, ExampleSet] = field(default_factory=dict)

    def is_complete(self) -> bool:
        return self.count > 0 and all(number in self.found for number in range(self.count))


class Registry:
    """Every adapter version, by name; fed record by record in the order of their offsets.

    ``revision`` is the offset of the last record of the adapters topic that was applied, -1
    before any: it names a state of the registry.
    """

    def __init__(self) -> None:
        self.revision = -1
        self._versions: dict[str, AdapterVersion] = {}
        # By id and by family, of which no name is both.
        self._named: defaultdict[str, dict[str, AdapterVersion]] = defaultdict(dict)
        self._parts: dict[str, _Parts] = {}
        self._traffic: dict[str, Traffic] = {}
        self._splits: dict[str, Split] = {}
        # What may be asked for, in the order of suggestions; None where it is to be made anew.
        self._names: tuple[str, ...] | None = None
        # By family, until one of its records changes.
        self._shares: dict[str, tuple[TrafficShare, ...]] = {}
        self._representatives: dict[str, Selectable | None] = {}

    def apply_version(self, key: str, version: AdapterVersion | None, offset: int) -> None:
        """A record of the adapters topic; None is a tombstone.

        Raises ValueError, with the version left as it was, for one that has no order among the
        others: no semantic version.
        """
        self.skip(offset)
        if version is not None:
            parse(version.adapter_version)
        self._names = None
        if known := self._versions.pop(key, None):
            for name in (known.adapter_id, known.family):
                self._named[name].pop(key, None)
            self._forget(known.adapter_id, known.family)
        if version is not None:
            self._versions[key] = version
            for name in (version.adapter_id, version.family):
                self._named[name][key] = version
            self._forget(version.adapter_id, version.family)

    def skip(self, offset: int) -> None:
        """A record of the adapters topic that can't be read; the version stays as it was."""
        self.revision = max(self.revision, offset)

    def apply_examples(self, key: str, part: ExampleSet | None) -> None:
        """A record of the examples topic, keyed ``id@version#part``; None is a tombstone."""
        version_key, _, number = key.rpartition("#")
        parts = self._parts.setdefault(version_key, _Parts())
        if part is not None:
            parts.count = part.parts
            parts.found[part.part] = part
        elif number.isdecimal():
            parts.found.pop(int(number), None)
        if version := self._versions.get(version_key):
            self._forget(version.adapter_id, version.family)

    def apply_traffic(self, family: str, traffic: Traffic | None) -> None:
        """A record of the traffic topic; None is a tombstone."""
        self._forget(family)
        self._traffic.pop(family, None)
        self._splits.pop(family, None)
        if traffic is not None:
            self._traffic[family] = traffic
            if split := Split.of(family, traffic.shares):
                self._splits[family] = split

    def keys(self) -> tuple[str, ...]:
        """``id@version`` of every version there is, whatever its state."""
        return tuple(self._versions)

    def versions(self) -> list[AdapterVersion]:
        """Every version, ordered by id and version."""
        return sorted(
            self._versions.values(), key=lambda version: (version.adapter_id, _order(version))
        )

    def get(self, key: str) -> AdapterVersion | None:
        """The version ``id@version``, whatever its state."""
        return self._versions.get(key)

    def is_servable(self, key: str) -> bool:
        """Whether the version ``id@version`` may be asked for: it is not retired or failed."""
        version = self._versions.get(key)
        return version is not None and version.status in _SERVABLE

    def families(self) -> tuple[str, ...]:
        """Every family there is a version of, sorted."""
        return tuple(sorted({version.family for version in self._versions.values()}))

    def of_family(self, family: str) -> list[AdapterVersion]:
        """Its versions, whatever their state, the newest first."""
        return sorted(
            (v for v in self._named.get(family, {}).values() if v.family == family),
            key=_order,
            reverse=True,
        )

    def traffic(self, family: str) -> Traffic:
        """The family's split as it was written; one of revision 0 where it never was."""
        return self._traffic.get(family) or Traffic(family)

    def on_trial(self) -> list[Traffic]:
        """The splits of the families that have a canary."""
        return [traffic for traffic in self._traffic.values() if traffic.canary is not None]

    def shares(self, family: str) -> tuple[TrafficShare, ...]:
        """What the family's queries are split over now, the weights as they were written.

        Without a split that anybody can answer the newest active version takes all.
        """
        return self._kept(self._shares, family, self._shares_now)

    def examples(self, key: str) -> tuple[Example, ...] | None:
        """The version's examples; None while parts of them are missing."""
        version = self._versions.get(key)
        if version is not None and version.example_parts == 0:
            return ()
        parts = self._parts.get(key)
        if parts is None or not parts.is_complete():
            return None
        return tuple(
            example for number in range(parts.count) for example in parts.found[number].examples
        )

    def selectable(self) -> Mapping[str, Selectable]:
        """By ``id@version``: of each family the version whose examples stand for it.

        One per family: its versions resemble each other so much that none would keep its
        distance. It is the one with the largest share, of equal ones the newest; another one
        takes its place only once all its examples are there.
        """
        found = (
            self._kept(self._representatives, family, self._representative)
            for family in self.families()
        )
        return {entry.version.key: entry for entry in found if entry is not None}

    def resolve(self, reference: str) -> AdapterVersion:
        """The version that ``id@version``, an id or a family names.

        An id or a family means the one with the largest share of its queries; an exact version
        may be one that is not active yet. Raises UnknownAdapter, with near names, where there is
        none.
        """
        if split_key(reference)[1]:
            return self._resolve_exact(reference)
        if shares := self._shares_of(reference):
            return self._versions[max(shares, key=self._rank).adapter]
        return self._resolve_active(reference)

    def choose(self, reference: str, session: str) -> Chosen:
        """The version that answers a query of the session which names ``reference``.

        A family's queries are shared out by its split, and those of an id by that of its family
        among the versions of the id, or else go to the newest active version of it. Raises
        UnknownAdapter, as ``resolve``.
        """
        if split_key(reference)[1]:
            return Chosen(self._resolve_exact(reference))
        if chosen := self._by_split(reference, session):
            return chosen
        version = self._resolve_active(reference)
        return Chosen(version, variant_name(version))

    def choose_selected(self, key: str, session: str) -> Chosen | None:
        """The version that answers where selection has decided for ``key``, one of selectable().

        None where nobody of its family does any more, which selection learns a while later.
        """
        version = self._versions.get(key)
        if version is None:
            return None
        if chosen := self._by_split(version.family, session):
            return chosen
        left = version if self.is_servable(key) else self._newest_active(version.family)
        return Chosen(left, variant_name(left)) if left else None

    def previous(self, version: AdapterVersion) -> list[AdapterVersion]:
        """Older versions of its family that can be asked for, active ones and newest first."""
        older = [
            other
            for other in self.of_family(version.family)
            if other.status in _SERVABLE and _order(other) < _order(version)
        ]
        return sorted(older, key=lambda other: other.status != "active")

    def older(self, reference: str) -> list[AdapterVersion]:
        """As ``previous``, of the version ``id@version``, or of the newest of an id or family."""
        exact = self._versions.get(reference)
        newest = max(self._named.get(reference, {}).values(), key=_order, default=exact)
        return self.previous(newest) if newest else []

    def _shares_of(self, reference: str) -> list[TrafficShare]:
        """The shares of the split that may answer a query for that id or family.

        None of an id of which only a canary has a share: who names the id does not want to be
        the one whom it is tried on, as long as it has an active version.
        """
        named = self._named.get(reference, {})
        family = next((version.family for version in named.values()), "")
        split = self._splits.get(family)
        found = [s for s in split.shares if self._takes(s.adapter, named)] if split else []
        trial = self._traffic[family].canary if split else None
        if trial and reference != family and {s.adapter for s in found} == {trial.adapter}:
            return [] if self._newest_active(reference) else found
        return found

    def _by_split(self, reference: str, session: str) -> Chosen | None:
        found = {share.adapter for share in self._shares_of(reference)}
        if not found:
            return None
        family = self._versions[next(iter(found))].family
        share = self._splits[family].share_of(session, found.__contains__)
        if share is None:  # their weights are too small for a single point
            return None
        version = self._versions[share.adapter]
        return Chosen(version, share.variant or variant_name(version))

    def _takes(self, key: str, named: Mapping[str, AdapterVersion]) -> bool:
        return key in named and named[key].status in _SERVABLE

    def _kept(self, kept: dict[str, Kept], family: str, make: Callable[[str], Kept]) -> Kept:
        """What ``make`` says of the family; made anew only after a change."""
        if family in kept:
            return kept[family]
        made = make(family)
        if self._is_by_itself(family):
            kept[family] = made
        return made

    def _forget(self, *families: str) -> None:
        for family in families:
            self._shares.pop(family, None)
            self._representatives.pop(family, None)

    def _is_by_itself(self, family: str) -> bool:
        """Whether only its own records matter to it: a split may name versions of another one."""
        split, named = self._splits.get(family), self._named.get(family, {})
        return bool(named) and (split is None or all(s.adapter in named for s in split.shares))

    def _shares_now(self, family: str) -> tuple[TrafficShare, ...]:
        split = self._splits.get(family)
        if split and (found := tuple(s for s in split.shares if self.is_servable(s.adapter))):
            return found
        newest = self._newest_active(family)
        return (TrafficShare(newest.key, 1.0, variant_name(newest)),) if newest else ()

    def _representative(self, family: str) -> Selectable | None:
        shares = sorted(self.shares(family), key=self._rank, reverse=True)
        keys = [share.adapter for share in shares]
        keys += [version.key for version in self.of_family(family) if version.status == "active"]
        for key in keys:
            if examples := self.examples(key):
                return Selectable(self._versions[key], examples)
        return None

    def _rank(self, share: TrafficShare) -> tuple[float, Version]:
        return share.weight, _order(self._versions[share.adapter])

    def _newest_active(self, reference: str) -> AdapterVersion | None:
        active = [v for v in self._named.get(reference, {}).values() if v.status == "active"]
        return max(active, key=_order, default=None)

    def _resolve_active(self, reference: str) -> AdapterVersion:
        if found := self._newest_active(reference):
            return found
        if self._named.get(reference):
            raise UnknownAdapter(reference, state="has no active version")
        raise UnknownAdapter(reference, self._near(reference))

    def _resolve_exact(self, reference: str) -> AdapterVersion:
        version = self._versions.get(reference)
        if version is None:
            raise UnknownAdapter(reference, self._near(reference))
        if version.status not in _SERVABLE:
            raise UnknownAdapter(reference, state=f"is {version.status}")
        return version

    def _near(self, reference: str) -> tuple[str, ...]:
        if self._names is None:
            names = {BASE}
            for version in self._versions.values():
                if version.status in _SERVABLE:
                    names |= {version.key, version.adapter_id, version.family}
            # v2 before v1. Copies made in order lie side by side: among 10,000 adapters it takes
            # 2 ms to compare a name with theirs, and 14 with strings from all over the memory.
            self._names = tuple(map(_copy, sorted(names, reverse=True)))
        return near_names(reference, self._names)


def _copy(name: str) -> str:
    return name.encode(errors="surrogatepass").decode(errors="surrogatepass")


def _order(version: AdapterVersion) -> Version:
    return parse(version.adapter_version)
