"""Which partition of the requests topic an adapter's request goes to. Pure.

An adapter keeps to the partition it prefers by rendezvous hashing, so that one worker needs to
hold it; a hot one, by its share of the requests lately, has as many partitions as it fills. They
are placed heaviest first, each where it prefers to be and still fits, so that the heavy ones are
apart. What chance puts on top is caught as in consistent hashing with bounded loads (Mirrokni,
Thorup and Zadimoghaddam, 2016): no partition gets more than its share times `1 + SLACK`.

Routers know nothing of each other's choices. They see the same shares, near enough, and so place
alike; shares that hardly differ count as the same, for chance must not order them.
"""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil, log2

#: How far above the mean a partition's load may go.
SLACK = 0.15
#: Loads and shares are halved when they add up to this many requests per partition, so old ones
#: fade, and adapters are placed anew.
_HORIZON = 256
#: And at first after so many requests per partition already, then twice as many, and so on.
_FIRST_LOOK = 32
#: Shares within a factor of the square root of two count as the same.
_STEPS_PER_OCTAVE = 2
#: An adapter that has come once is forgotten after as many halvings as it takes to get here.
_FORGOTTEN = 0.2


class PartitionChoice:
    """Chooses partitions and remembers how many requests each has been given lately."""

    def __init__(self, partitions: int) -> None:
        self._loads = [0.0] * partitions
        self._preferences: dict[str, list[int]] = {}
        self._requests: defaultdict[str, float] = defaultdict(float)
        self._placed: dict[str, Sequence[int]] = {}
        self._since_look = 0
        self._look_after = _FIRST_LOOK * partitions

    @property
    def partitions(self) -> int:
        """How many partitions there are to choose from."""
        return len(self._loads)

    def choose(self, adapter: str) -> int:
        """One of the adapter's partitions with room, or the next one it prefers; counts it."""
        self._count(adapter)
        total = sum(self._loads) + 1
        capacity = ceil((1 + SLACK) * total / len(self._loads))
        partition = min(self._home(adapter), key=self._loads.__getitem__)
        if self._loads[partition] + 1 > capacity:
            # Those that are full add up to less than all, so one is not.
            partition = next(p for p in self._preference(adapter) if self._loads[p] + 1 <= capacity)
        self._loads[partition] += 1
        if total > _HORIZON * len(self._loads):
            self._loads = [load / 2 for load in self._loads]
        return partition

    def _home(self, adapter: str) -> Sequence[int]:
        return self._placed.get(adapter) or self._preference(adapter)[:1]

    def _count(self, adapter: str) -> None:
        self._requests[adapter] += 1
        self._since_look += 1
        if self._since_look < self._look_after:
            return
        self._place()
        self._since_look = 0
        horizon = _HORIZON * len(self._loads)
        if self._look_after < horizon:
            self._look_after *= 2
            return
        fading = {name: requests / 2 for name, requests in self._requests.items()}
        self._requests.clear()
        self._requests.update((n, left) for n, left in fading.items() if left > _FORGOTTEN)

    def _place(self) -> None:
        total = sum(self._requests.values())
        most = (1 + SLACK) * total / len(self._loads)
        expected = [0.0] * len(self._loads)
        self._placed = {}
        for adapter in sorted(self._requests, key=lambda name: self._rank(name, total)):
            requests = self._requests[adapter]
            count = ceil(requests / most)
            part = requests / count
            fitting = [p for p in self._preference(adapter) if expected[p] + part <= most][:count]
            if not fitting:
                fitting = [min(range(len(expected)), key=expected.__getitem__)]
            for partition in fitting:
                expected[partition] += requests / len(fitting)
            self._placed[adapter] = fitting

    def _rank(self, adapter: str, total: float) -> tuple[int, str]:
        octaves = log2(self._requests[adapter] / total)
        return -round(octaves * _STEPS_PER_OCTAVE), adapter

    def _preference(self, adapter: str) -> list[int]:
        preference = self._preferences.get(adapter)
        if preference is None:
            if len(self._preferences) > 10_000:
                self._preferences.clear()
            preference = sorted(range(len(self._loads)), key=lambda p: _hash(adapter, p))
            self._preferences[adapter] = preference
        return preference


def _hash(adapter: str, partition: int) -> bytes:
    return blake2b(f"{partition}:{adapter}".encode(), digest_size=8).digest()
