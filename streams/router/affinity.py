"""Which partition of the requests topic an adapter's request goes to. Pure.

Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016) on rendezvous
hashes: an adapter keeps to the few partitions it prefers, so that few workers need to hold it,
but no partition gets more than its share times `1 + SLACK`.
"""

from hashlib import blake2b
from math import ceil

#: How far above the mean a partition's load may go.
SLACK = 0.25
#: Loads are halved when they add up to this many requests per partition, so old ones fade.
_HORIZON = 256


class PartitionChoice:
    """Chooses partitions and remembers how many requests each has been given lately."""

    def __init__(self, partitions: int) -> None:
        self._loads = [0.0] * partitions
        self._preferences: dict[str, list[int]] = {}

    @property
    def partitions(self) -> int:
        """How many partitions there are to choose from."""
        return len(self._loads)

    def choose(self, adapter: str) -> int:
        """The most preferred partition of `adapter` with room; counts the request there."""
        total = sum(self._loads) + 1
        capacity = ceil((1 + SLACK) * total / len(self._loads))
        for partition in self._preference(adapter):
            if self._loads[partition] + 1 <= capacity:
                break
        self._loads[partition] += 1
        if total > _HORIZON * len(self._loads):
            self._loads = [load / 2 for load in self._loads]
        return partition

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
