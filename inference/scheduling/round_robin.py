"""Deficit round robin over named flows, which may hold flows themselves. Pure.

M. Shreedhar and G. Varghese, "Efficient fair queueing using deficit round robin" (1995), with the
list of new flows of RFC 8290 (FQ-CoDel), section 4.2, and its order: a flow goes while its credit
is above zero and pays afterwards, so that none waits because its first request is long. Every flow
with something waiting gets the same share of the work by cost, whatever the others bring; what one
does not use is shared by the rest.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

#: What a flow may spend in a round, in tokens: about one request, so that flows alternate.
QUANTUM = 256.0
#: Above this much a request counts as this much: it bounds how long a flow has to pay.
MAX_COST = 64 * QUANTUM


class Entry(Generic[T]):
    """A waiting item and its cost in tokens; `is_removed` once nobody wants it any more."""

    __slots__ = ("cost", "is_removed", "item")

    def __init__(self, item: T, cost: float) -> None:
        self.item = item
        self.cost = min(max(cost, 1.0), MAX_COST)
        self.is_removed = False


class _Flow(Protocol[T]):
    def head(self) -> Entry[T] | None: ...

    def pop(self) -> None: ...


class Fifo(Generic[T]):
    """Entries in their order."""

    def __init__(self) -> None:
        self._entries: deque[Entry[T]] = deque()

    def push(self, path: tuple[Hashable, ...], entry: Entry[T]) -> None:
        """Adds an entry; there is nothing below, so `path` is empty."""
        assert not path
        self._entries.append(entry)

    def head(self) -> Entry[T] | None:
        """The next entry, None where nothing waits."""
        while self._entries and self._entries[0].is_removed:
            self._entries.popleft()
        return self._entries[0] if self._entries else None

    def pop(self) -> None:
        """Takes the head away."""
        self._entries.popleft()


class RoundRobin(Generic[T]):
    """Flows in turn; `depth` levels of them, each a part of an entry's path.

    One that has been idle goes before those that have not, for what a turn may spend: a flow that
    asks for little waits for nobody's turn. It is idle again only after a turn without anything
    waiting and without a debt.
    """

    def __init__(self, depth: int) -> None:
        assert depth > 0
        self._depth = depth
        self._fresh: _Flows[T] = OrderedDict()
        self._busy: _Flows[T] = OrderedDict()
        self._held: dict[Hashable, Fifo[T] | RoundRobin[T]] = {}
        self._credits: dict[Hashable, float] = {}

    def push(self, path: tuple[Hashable, ...], entry: Entry[T]) -> None:
        """Adds an entry to the flow that `path` names, behind what waits there."""
        name, *rest = path
        flow = self._fresh.get(name) or self._busy.get(name) or self._held.get(name)
        if flow is None:
            flow = Fifo() if self._depth == 1 else RoundRobin(self._depth - 1)
            self._fresh[name] = flow
            self._credits[name] = QUANTUM
        flow.push(tuple(rest), entry)

    def head(self) -> Entry[T] | None:
        """The entry whose turn it is, None where nothing waits."""
        while flows := self._fresh or self._busy:
            name, flow = next(iter(flows.items()))
            entry = flow.head()
            if entry is not None and self._credits[name] > 0:
                return entry
            self._end_turn(flows, name)
        return None

    @property
    def is_head_fresh(self) -> bool:
        """Whether the entry whose turn it is belongs to a flow that has been idle."""
        return self.head() is not None and bool(self._fresh)

    def pop(self) -> None:
        """Takes the head away, and its cost off its flow."""
        entry = self.head()
        assert entry is not None, "nothing waits"
        name, flow = next(iter((self._fresh or self._busy).items()))
        flow.pop()
        self._credits[name] -= entry.cost

    def hold(self, name: Hashable) -> None:
        """Leaves a flow of this level out until it is freed; others go meanwhile."""
        flow = self._fresh.pop(name, None) or self._busy.pop(name, None)
        if flow is not None:
            self._held[name] = flow

    def free(self, name: Hashable, *, as_idle: bool = True) -> None:
        """Lets a flow go again, as one that has been idle or as the last of the others."""
        if (flow := self._held.pop(name, None)) is not None:
            (self._fresh if as_idle else self._busy)[name] = flow

    @property
    def is_holding(self) -> bool:
        """Whether a flow is left out."""
        return bool(self._held)

    def upcoming(self) -> Iterator[Hashable]:
        """The names of this level's flows, about in the order of their turns."""
        for flows in (self._fresh, self._busy, self._held):
            for name, flow in flows.items():
                if flow.head() is not None:
                    yield name

    def _end_turn(self, flows: "_Flows[T]", name: Hashable) -> None:
        flow = flows.pop(name)
        if self._credits[name] <= 0:
            self._credits[name] += QUANTUM
        elif flows is self._busy:
            # It has nothing waiting, and saves nothing up.
            del self._credits[name]
            return
        self._busy[name] = flow


_Flows: TypeAlias = OrderedDict[Hashable, Fifo[T] | RoundRobin[T]]
