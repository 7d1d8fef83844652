"""Requests and who holds what, without time: a request is cold if its adapter is not there.

Who makes room is decided by the worker's own code. Pure and seeded.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.affinity.policies import Policy
from inference.adapters.residents import Resident, Residents
from inference.engine.protocol import LoadedAdapter

#: The first so many of the requests fill the workers and are not counted.
_WARM = 1 / 5
#: Workers are compared over so many requests: a queue forms within seconds, not hours.
WINDOW = 1_000


@dataclass(frozen=True, slots=True)
class Simulated:
    """``cold`` is a share of the requests; ``imbalance`` the busiest worker's over the mean."""

    cold: float
    imbalance: float


class _Places:
    """One worker's; the oldest use makes room where ``by_age`` says so."""

    def __init__(self, places: int, by_age: bool) -> None:
        self._places = places
        self._by_age = by_age
        self._residents = Residents(dict)

    def is_cold(self, adapter: str) -> bool:
        if self._residents.get(adapter) is not None:
            return False
        if len(self._residents) >= self._places:
            oldest = self._residents.keys[0]
            self._residents.remove(oldest if self._by_age else self._residents.spare() or oldest)
        self._residents.add(Resident(LoadedAdapter(adapter, "", 1)))
        return True


def simulate(
    policy: Policy,
    requests: Sequence[str],
    partitions: int,
    workers: int,
    places: int,
    routers: int,
    seed: int,
    *,
    by_age: bool = False,
) -> Simulated:
    """Each request comes to one of the routers by chance; partitions are dealt out to workers."""
    rng = random.Random(seed)
    choices = [policy.make(partitions) for _ in range(routers)]
    held = [_Places(places, by_age) for _ in range(workers)]
    warm = int(_WARM * len(requests))
    served: list[int] = []
    cold = 0
    for number, adapter in enumerate(requests):
        worker = rng.choice(choices).choose(adapter) % workers
        is_cold = held[worker].is_cold(adapter)
        if number >= warm:
            served.append(worker)
            cold += is_cold
    return Simulated(cold / len(served), imbalance(served, workers))


def imbalance(served: Sequence[object], workers: int) -> float:
    """Requests of the busiest worker over the mean, averaged over windows; by who served each."""
    windows = [served[start : start + WINDOW] for start in range(0, len(served), WINDOW)]
    whole = [window for window in windows if len(window) == WINDOW] or windows
    return mean(max(Counter(w).values()) * workers / len(w) for w in whole)
