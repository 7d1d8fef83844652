"""Gets adapters ready before the turn of those who wait for them, beside the running work."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from inference.adapters.files import AdapterFiles
from inference.adapters.store import AdapterStore
from schemas.errors import AdapterUnavailable, EngineUnavailable
from schemas.records import AdapterVersion

#: However many requests come, the plan is made anew this often at most.
_PAUSE_S: Final = 0.02
#: Adapters that are remembered as used lately, for each place in the engine.
_RECENT_PER_PLACE: Final = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to load into the engine and then what to fetch to the disk, by key, soonest first."""

    load: tuple[str, ...]
    fetch: tuple[str, ...]


def plan(
    upcoming: Iterable[str],
    recent: Iterable[str],
    resident: Collection[str],
    places: int,
    sizes: Mapping[str, int],
    max_bytes: int,
) -> Plan:
    """Pure. ``upcoming`` are the adapters of what waits, in the order of their turns.

    What comes first of them, as many as there are places, is to be loaded; free places are for
    those used most recently (``recent``, the last first). What comes after is to be fetched, as
    far as all that is upcoming has ``max_bytes`` by ``sizes``: beyond that one would push out
    another that is needed sooner.
    """
    upcoming = tuple(dict.fromkeys(upcoming))
    soon, later = upcoming[:places], upcoming[places:]
    load = [key for key in soon if key not in resident]
    free = places - len(resident) - len(load)
    lately = [key for key in dict.fromkeys(recent) if key not in resident and key not in upcoming]
    room = max_bytes - sum(sizes.get(key, 0) for key in soon)
    fetch: list[str] = []
    for key in later:
        room -= sizes.get(key, 0)
        if room < 0:
            break
        if sizes.get(key, 0) and key not in resident:
            fetch.append(key)
    return Plan((*load, *lately[: max(0, free)]), tuple(fetch))


class Prefetcher:
    """Follows what waits; ``most_at_once`` loads and fetches of its own at once.

    ``version`` finds a version by its key, ``upcoming`` tells of what waits. Files elsewhere are
    fetched ahead up to ``max_bytes``.
    """

    def __init__(
        self,
        store: AdapterStore,
        files: AdapterFiles,
        *,
        upcoming: Callable[[], Iterable[str]],
        version: Callable[[str], AdapterVersion | None],
        places: int,
        most_at_once: int,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._files = files
        self._upcoming = upcoming
        self._version = version
        self._places = places
        self._most_at_once = most_at_once
        self._max_bytes = max_bytes
        # In order of use, the last one last.
        self._recent: dict[str, None] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        # What waits and has been fetched for it, and whose load has ended with the engine.
        self._fetched: set[str] = set()
        self._given_up: set[str] = set()
        self._look = asyncio.Event()

    def wants(self, key: str) -> None:
        """A request for the adapter has come, and waits from now on."""
        self._recent.pop(key, None)
        self._recent[key] = None
        if key in self._given_up and key in self._store.resident:
            self._given_up.discard(key)
        while len(self._recent) > _RECENT_PER_PLACE * self._places:
            del self._recent[next(iter(self._recent))]
        if not self._store.holds(key):
            self._look.set()

    def look(self) -> None:
        """Places may have become free, as when the engine was started anew."""
        self._look.set()

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            while True:
                await self._look.wait()
                self._look.clear()
                # A new engine is looked at once it is there: see `look`.
                with suppress(EngineUnavailable):
                    self._begin()
                await asyncio.sleep(_PAUSE_S)
        finally:
            for task in self._work.values():
                task.cancel()
            await asyncio.gather(*self._work.values(), return_exceptions=True)

    def _begin(self) -> None:
        upcoming = [key for key in self._upcoming() if key not in self._given_up]
        recent = [key for key in reversed(self._recent) if key not in self._given_up]
        self._fetched &= set(upcoming)
        wanted = plan(
            upcoming,
            recent,
            self._store.resident,
            self._places,
            {key: self._size_elsewhere(key) for key in upcoming},
            self._max_bytes,
        )
        for key in (*wanted.load, *wanted.fetch):
            if len(self._work) >= self._most_at_once:
                return
            version = self._version(key)
            if version is None or key in self._work or self._store.is_known_to_fail(version):
                continue
            if key in wanted.load and self._store.has_room_early(key):
                self._start(version, self._store.load_early(version))
            elif key not in self._fetched:
                self._fetched.add(key)
                self._start(version, self._store.fetch_early(version))

    def _start(self, version: AdapterVersion, work: Coroutine[Any, Any, None]) -> None:
        self._work[version.key] = asyncio.create_task(
            self._finish(version.key, work), name=f"prefetch {version.key}"
        )

    async def _finish(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AdapterUnavailable:
            self._fetched.discard(key)  # the store remembers, and tells whoever asks for it
        except EngineUnavailable:
            # Should it be the adapter that the engine dies of, its requests are to find out.
            self._given_up.add(key)
        finally:
            del self._work[key]
            self._look.set()

    def _size_elsewhere(self, key: str) -> int:
        version = self._version(key)
        return self._files.size_elsewhere(version) if version is not None else 0
