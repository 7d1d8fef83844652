"""Ways to choose a request's partition."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol
from zlib import crc32

from streams.router.affinity import PartitionChoice


class Choice(Protocol):
    """One router's choosing."""

    def choose(self, adapter: str) -> int:
        """The partition of the next request for the adapter."""


class RoundRobin:
    """One after the other, whatever is asked for."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._numbers = count()

    def choose(self, adapter: str) -> int:
        """The next one."""
        return next(self._numbers) % self._partitions


class PlainHash:
    """By a hash of the adapter, as a producer does with a record's key."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def choose(self, adapter: str) -> int:
        """The same one always."""
        return crc32(adapter.encode()) % self._partitions


@dataclass(frozen=True, slots=True)
class Policy:
    """``make`` gives a router's choice among so many partitions."""

    name: str
    make: Callable[[int], Choice]


POLICIES = (
    Policy("round robin", RoundRobin),
    Policy("plain hashing", PlainHash),
    Policy("lorelay", PartitionChoice),
)
