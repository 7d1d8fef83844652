"""How much processor time processes have used, by the kernel's count (proc(5), /proc/PID/stat)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12  # positions behind the command, which may hold blanks


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
    """CPU milliseconds of a process and all below it so far; ticks are 10 ms on most kernels."""
    return sum(map(_cpu_ms, [pid, *descendants(pid)]))


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


def _cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK_MS
