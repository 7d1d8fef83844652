"""Which adapters an engine holds, who uses them, and which of them makes room. No I/O.

The least used makes room, by its uses lately, and not the least recently used: most adapters are
asked for seldom, and each of those would push out one that is asked for all the time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from inference.adapters.shelf import Shelved
from inference.engine.protocol import LoadedAdapter

#: After so many uses of any adapters an old use counts half.
_HALF_LIFE = 512
#: Adapters whose uses are remembered, whether they are here or not.
_MOST_REMEMBERED = 4096


class Uses:
    """How often each key has been used lately."""

    def __init__(self) -> None:
        self._counts: dict[str, float] = {}
        # A new use counts more than all before it did, which is the same as their fading.
        self._weight = 1.0

    def __getitem__(self, key: str) -> float:
        return self._counts.get(key, 0.0)

    def add(self, key: str) -> None:
        """One more use."""
        self._weight *= 2 ** (1 / _HALF_LIFE)
        self._counts[key] = self[key] + self._weight
        if self._weight > 1e100 or len(self._counts) > _MOST_REMEMBERED:
            most = sorted(self._counts.items(), key=lambda entry: -entry[1])
            self._counts = {k: uses / self._weight for k, uses in most[: _MOST_REMEMBERED // 2]}
            self._weight = 1.0


@dataclass(slots=True)
class Resident:
    """One of them, and its place on the shelf where it has been fetched."""

    loaded: LoadedAdapter
    shelved: Shelved | None = None
    loaded_at: float | None = None

    def release(self) -> None:
        """Its files may go: the engine holds it no more."""
        if self.shelved is not None:
            self.shelved.release()


class Residents:
    """The adapters by key, least recently used first.

    An adapter is claimed by all that run with it or wait for it. ``needs`` tells by key how soon
    what waits wants it, 0 next.
    """

    def __init__(self, needs: Callable[[], Mapping[str, int]]) -> None:
        self._needs = needs
        self._held: dict[str, Resident] = {}
        self._uses = Uses()
        self._claims: Counter[str] = Counter()
        self._leaving: str | None = None
        self._changed = asyncio.Event()

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    @property
    def keys(self) -> tuple[str, ...]:
        """Least recently used first."""
        return tuple(self._held)

    def loaded_at(self, key: str) -> float | None:
        """When the engine had loaded it; None if it is not here."""
        resident = self._held.get(key)
        return None if resident is None else resident.loaded_at

    def get(self, key: str) -> Resident | None:
        """The adapter, to be used now."""
        self._uses.add(key)
        if (resident := self._held.pop(key, None)) is not None:
            self._held[key] = resident
        return resident

    def add(self, resident: Resident) -> None:
        """Takes in what the engine has loaded."""
        self._held[resident.loaded.key] = resident
        self._notify()

    def remove(self, key: str) -> Resident | None:
        """Forgets it: nobody finds it here any more."""
        resident = self._held.pop(key, None)
        self._notify()
        return resident

    def is_free(self, key: str) -> bool:
        """Whether it is here, and one more may use it."""
        return key in self._held and key != self._leaving

    @contextmanager
    def claim(self, key: str) -> Iterator[None]:
        """It does not make room for others meanwhile, once it is here."""
        self._claims[key] += 1
        try:
            yield
        finally:
            self._claims[key] -= 1
            if not self._claims[key]:
                del self._claims[key]
            self._notify()

    async def until_free_to_claim(self, key: str) -> None:
        """Returns at once, unless it is on its way out: then once it is out, or stays."""
        while key == self._leaving:
            await self._changed.wait()

    def spare(self, for_one: str | None = None) -> str | None:
        """The one that nobody uses and that is needed last; among those, the least used.

        None where all are used, or are needed no later than ``for_one``.
        """
        needs = self._needs()
        unused = [key for key in self._held if not self._claims[key]]
        last = max(unused, key=lambda key: (needs.get(key, inf), -self._uses[key]), default=None)
        if last is None or (
            for_one is not None and needs.get(last, inf) <= needs.get(for_one, inf)
        ):
            return None
        return last

    async def until_spare(self) -> str | None:
        """One that nobody uses. While there is none, the least used takes no more on.

        None once there is none at all, as when the engine was started anew.
        """
        try:
            while (key := self.spare()) is None:
                if not self._held:
                    return None
                if self._leaving not in self._held:
                    self._leaving = min(self._held, key=self._uses.__getitem__)
                await self._changed.wait()
        finally:
            self._leaving = None
            self._notify()
        return key

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
