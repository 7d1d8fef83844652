"""The registry in memory: what the records of its topics add up to. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from semver import Version

from schemas.errors import UnknownAdapter
from schemas.records import BASE, AdapterVersion, Example, ExampleSet
from streams.registry.version import parse, split_key

_NEAR_NAMES: Final = 3
_SERVABLE: Final = ("active", "canary", "registered")


@dataclass(frozen=True, slots=True)
class Selectable:
    """A version that selection may choose, and what it learns from."""

    version: AdapterVersion
    examples: tuple[Example, ...]

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that the adapter answers in; empty where it does not say."""
        return self.version.languages


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
        self._parts: dict[str, _Parts] = {}

    def apply_version(self, key: str, version: AdapterVersion | None, offset: int) -> None:
        """A record of the adapters topic; None is a tombstone.

        Raises ValueError, with the version left as it was, for one that has no order among the
        others: no semantic version.
        """
        self.skip(offset)
        if version is None:
            self._versions.pop(key, None)
            return
        parse(version.adapter_version)
        self._versions[key] = version

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
        """By ``id@version``: of each family the newest active version with all its examples.

        One per family: two majors of one family resemble each other so much that neither would
        keep its distance. A new version takes its family over only once its examples are there.
        """
        chosen: dict[str, Selectable] = {}
        for version in sorted(self._versions.values(), key=_order):
            if version.status == "active" and (examples := self.examples(version.key)):
                chosen[version.family] = Selectable(version, examples)
        return {entry.version.key: entry for entry in chosen.values()}

    def resolve(self, reference: str) -> AdapterVersion:
        """The version that ``id@version``, an id or a family names.

        An id or a family means its newest active version; an exact version may be one that is
        not active yet. Raises UnknownAdapter, with near names, where there is none.
        """
        if split_key(reference)[1]:
            return self._resolve_exact(reference)
        named = [
            version
            for version in self._versions.values()
            if reference in (version.adapter_id, version.family)
        ]
        active = [version for version in named if version.status == "active"]
        if active:
            return max(active, key=_order)
        if named:
            raise UnknownAdapter(reference, state="has no active version")
        raise UnknownAdapter(reference, self._near(reference))

    def previous(self, version: AdapterVersion) -> list[AdapterVersion]:
        """Older versions of its family that can be asked for, the newest of them first."""
        older = [
            other
            for other in self._versions.values()
            if other.family == version.family
            and other.status in _SERVABLE
            and _order(other) < _order(version)
        ]
        return sorted(older, key=_order, reverse=True)

    def _resolve_exact(self, reference: str) -> AdapterVersion:
        version = self._versions.get(reference)
        if version is None:
            raise UnknownAdapter(reference, self._near(reference))
        if version.status not in _SERVABLE:
            raise UnknownAdapter(reference, state=f"is {version.status}")
        return version

    def _near(self, reference: str) -> Sequence[str]:
        names = {BASE}
        for version in self._versions.values():
            if version.status in _SERVABLE:
                names |= {version.key, version.adapter_id, version.family}
        return get_close_matches(reference, sorted(names), n=_NEAR_NAMES)


def _order(version: AdapterVersion) -> Version:
    return parse(version.adapter_version)
