"""Which adapters an engine holds, who uses them, and which of them makes room. No I/O."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from inference.adapters.shelf import Shelved
from inference.engine.protocol import LoadedAdapter


@dataclass(slots=True)
class Resident:
    """One of them, and its place on the shelf where it has been fetched."""

    loaded: LoadedAdapter
    shelved: Shelved | None = None

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

    def get(self, key: str) -> Resident | None:
        """The adapter, as used now."""
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

    def spare(self, unless_needed_within: float = 0) -> str | None:
        """The one that nobody uses and that is needed last; among those, used least recently.

        None where all are used, or wanted sooner than ``unless_needed_within``.
        """
        needs = self._needs()
        unused = [key for key in self._held if not self._claims[key]]
        last = max(unused, key=lambda key: needs.get(key, inf), default=None)
        if last is None or needs.get(last, inf) < unless_needed_within:
            return None
        return last

    async def until_spare(self) -> str:
        """One that nobody uses. While there is none, the least recently used takes no more on."""
        try:
            while (key := self.spare()) is None:
                if self._leaving not in self._held:
                    self._leaving = next(iter(self._held))
                await self._changed.wait()
        finally:
            self._leaving = None
            self._notify()
        return key

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
