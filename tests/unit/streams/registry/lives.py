"""A registry that changes are applied to, one after the other, as readers apply them."""

from collections.abc import Callable

from schemas.records import AdapterVersion
from streams.registry.change import Change, Intent
from streams.registry.lifecycle import promoted, registered
from streams.registry.reader import Registry
from tests.unit.streams.registry.factories import NOW, version

ANNA = Intent("anna", NOW, "Because.")


class Life:
    """A registry, and what was ever changed in it."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.changes: list[Change] = []
        self._offset = 0

    def register(self, *versions: AdapterVersion) -> None:
        for each in versions:
            self.apply(registered(self.registry, each, ANNA))

    def apply(self, change: Change) -> Change:
        """Applies it in the order of its records."""
        for each in change.versions:
            self.registry.apply_version(each.key, each, self._offset)
            self._offset += 1
        if change.traffic is not None:
            self.registry.apply_traffic(change.family, change.traffic)
        self.changes.append(change)
        return change

    def do(self, plan: Callable[..., Change], *arguments: object, **options: object) -> Change:
        """Plans a change on what there is, and applies it."""
        return self.apply(plan(self.registry, *arguments, ANNA, **options))

    def states(self) -> dict[str, str]:
        """By version number, the states that are not registered."""
        return {
            v.adapter_version: v.status
            for v in self.registry.versions()
            if v.status != "registered"
        }

    def shares(self, family: str = "legal-qa") -> dict[str, float]:
        """By version number."""
        return {
            share.adapter.partition("@")[2]: share.weight for share in self.registry.shares(family)
        }


def now(life: Life, wanted: AdapterVersion) -> AdapterVersion:
    """The version as the registry has it."""
    found = life.registry.get(wanted.key)
    assert found is not None
    return found


def promote(life: Life, wanted: AdapterVersion) -> None:
    life.do(promoted, now(life, wanted))


def of_two_majors() -> Life:
    """legal-qa with 1.0.0, which serves, and 1.1.0 and 2.0.0, which stand by."""
    life = Life()
    life.register(V1, V1_1, V2)
    return life


V1 = version("legal-qa-v1", "1.0.0")
V1_1 = version("legal-qa-v1", "1.1.0")
V2 = version("legal-qa-v2", "2.0.0")
