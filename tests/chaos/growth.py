"""How much more memory and how many more descriptors a member holds after a while."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import psutil

from tests.chaos.fleet import Fleet

_LOOK_SECONDS = 1.0
#: One that has lived for less has not much to say.
_LEAST_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Growth:
    """From the first third of a process's life to the last one, by the largest value in each."""

    megabytes: float
    descriptors: int


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    resident: int
    descriptors: int


class GrowthWatch:
    """Looks at every member's process every second, but not at the engine below a worker."""

    def __init__(self) -> None:
        self._looks: defaultdict[tuple[str, psutil.Process], list[_Look]] = defaultdict(list)

    async def watch(self, fleet: Fleet) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for role in ("router", "worker"):
                for member in fleet.of_role(role):
                    if member.process is not None and member.is_alive:
                        with suppress(psutil.Error):
                            self._look(role, psutil.Process(member.process.pid))

    def largest(self) -> Mapping[str, Growth]:
        """The most that any process of a role has grown; roles without a long life are left out."""
        found: defaultdict[str, list[Growth]] = defaultdict(list)
        for (role, _), looks in self._looks.items():
            if looks[-1].at - looks[0].at >= _LEAST_SECONDS:
                found[role].append(_growth(looks))
        return {
            role: Growth(
                max(growth.megabytes for growth in growths),
                max(growth.descriptors for growth in growths),
            )
            for role, growths in found.items()
        }

    def _look(self, role: str, process: psutil.Process) -> None:
        # A router encodes in a process below it.
        below = process.children() if role == "router" else []
        resident = sum(one.memory_info().rss for one in [process, *below])
        look = _Look(monotonic(), resident, process.num_fds())
        self._looks[role, process].append(look)


def _growth(looks: list[_Look]) -> Growth:
    third = len(looks) // 3
    first, last = looks[:third], looks[-third:]
    resident = max(look.resident for look in last) - max(look.resident for look in first)
    descriptors = max(look.descriptors for look in last) - max(look.descriptors for look in first)
    return Growth(resident / 2**20, descriptors)
