"""How much processor time processes have used; the kernel counts it in 10 ms on most machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

import psutil


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU milliseconds by process, all threads together, over ``seconds`` of the clock."""

    ms: Mapping[str, float]
    seconds: float

    @property
    def total_ms(self) -> float:
        """Of all the processes."""
        return sum(self.ms.values())

    @property
    def percent_of_core(self) -> float:
        """What share of one core they kept busy."""
        return self.total_ms / self.seconds / 10


class Stopwatch:
    """Counts from its making on. ``pids`` names the processes; none of them may end meanwhile."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = self._read()
        self._since = monotonic()

    def read(self) -> Spent:
        """What was spent since the start."""
        now = self._read()
        spent = {name: now[name] - self._before[name] for name in now}
        return Spent(spent, monotonic() - self._since)

    def _read(self) -> dict[str, float]:
        return {name: cpu_ms(pid) for name, pid in self._pids.items()}


def cpu_ms(pid: int) -> float:
    """CPU milliseconds of a process and all below it so far."""
    return 1000 * sum(sum(one.cpu_times()[:2]) for one in with_descendants(pid))


def with_descendants(pid: int) -> list[psutil.Process]:
    """The process, those that it has started, and those that they have."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
