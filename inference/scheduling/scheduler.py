"""What waits for the engine, and in which order it goes. Pure.

Priorities are strict: while something of a higher one waits, nothing of a lower one goes. Among
equals the adapters take turns by cost, and within an adapter the tenants do, so that neither a
hot adapter nor a busy tenant makes the others wait for its backlog.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, TypeVar

from inference.scheduling.round_robin import Entry, RoundRobin

T = TypeVar("T", bound=Hashable)


class Scheduler(Generic[T]):
    """Items by priority (the highest number first), adapter and tenant.

    It holds no work back by itself: as long as something waits, of an adapter that is neither held
    nor bound, `pop` gives something.
    """

    def __init__(self) -> None:
        self._bands: dict[int, RoundRobin[T]] = {}
        self._entries: dict[T, Entry[T]] = {}
        self._held: Counter[str] = Counter()
        self._bounded: set[tuple[int, str | None]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def push(
        self, item: T, *, priority: int, adapter: str | None, tenant: str | None, cost: float
    ) -> None:
        """Adds an item, unlike all that wait; `cost` is about the tokens it will take."""
        assert item not in self._entries
        entry = self._entries[item] = Entry(item, cost)
        band = self._bands.get(priority)
        if band is None:
            band = self._bands[priority] = RoundRobin(depth=2)
        band.push((adapter, tenant), entry)
        if adapter in self._held or (priority, adapter) in self._bounded:
            band.hold(adapter)

    @property
    def is_next_fresh(self) -> bool:
        """Whether the next item is of an adapter that has been idle, and so goes before others."""
        band = self._next_band()
        return band is not None and band.is_head_fresh

    def pop(self) -> T | None:
        """Takes the next item out; None where nothing waits."""
        band = self._next_band()
        entry = None if band is None else band.head()
        if band is None or entry is None:
            return None
        band.pop()
        del self._entries[entry.item]
        return entry.item

    def remove(self, item: T) -> bool:
        """Takes an item out of turn; False where it does not wait."""
        entry = self._entries.pop(item, None)
        if entry is None:
            return False
        entry.is_removed = True
        return True

    def hold(self, adapter: str) -> None:
        """Leaves the adapter's items out until `free` has been called as often."""
        self._held[adapter] += 1
        for band in self._bands.values():
            band.hold(adapter)

    def free(self, adapter: str) -> None:
        """Takes one `hold` back; after the last one its items go as if it had been idle."""
        self._held[adapter] -= 1
        if not self._held[adapter]:
            del self._held[adapter]
            for priority, band in self._bands.items():
                if (priority, adapter) not in self._bounded:
                    band.free(adapter)

    def bound(self, flows: set[tuple[int, str | None]]) -> None:
        """Leaves these adapters out, each within its priority, and no others any more.

        Nothing of a lower priority goes before what waits there: only its equals may.
        """
        before, self._bounded = self._bounded, flows
        for priority, adapter in before - flows:
            if priority in self._bands and adapter not in self._held:
                self._bands[priority].free(adapter, as_idle=False)
        for priority, adapter in flows - before:
            if priority in self._bands:
                self._bands[priority].hold(adapter)

    def _next_band(self) -> RoundRobin[T] | None:
        for priority in sorted(self._bands, reverse=True):
            band = self._bands[priority]
            if band.head() is not None:
                return band
            if any((priority, adapter) in self._bounded for adapter in band.upcoming()):
                return None
            if not band.is_holding:
                del self._bands[priority]
        return None

    def upcoming(self) -> Iterator[str]:
        """The adapters of what waits, each once, about in the order of their turns."""
        adapters = chain.from_iterable(
            self._bands[priority].upcoming() for priority in sorted(self._bands, reverse=True)
        )
        return (adapter for adapter in dict.fromkeys(adapters) if isinstance(adapter, str))
