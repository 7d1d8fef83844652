"""Kills, stops, joins and leaves, by a seeded schedule."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from tests.chaos.fleet import Fleet, Member

#: How long after a burst of queries its routers and workers are at it.
BUSY_SECONDS = 0.3


class Act(StrEnum):
    """What happens to a member of a role."""

    KILL = "SIGKILL"
    TERM = "SIGTERM"
    STOP = "SIGSTOP"
    ENGINE = "engine SIGKILL"
    JOIN = "join"
    LEAVE = "leave"


_ENGINE_SECONDS = 180.0

#: What happens to a member whatever happened before.
_ALONE = (Act.KILL, Act.TERM, Act.STOP, Act.ENGINE)


def schedule(rng: random.Random, counts: Mapping[Act, int]) -> list[Act]:
    """The acts in random order, as many of each as counted.

    A second member that joins does so first and leaves last; in between it leaves and joins
    again until it has joined as often as counted.
    """
    blocks = [[act] for act in _ALONE for _ in range(counts.get(act, 0))]
    joins = counts.get(Act.JOIN, 0)
    blocks += [[Act.LEAVE, Act.JOIN]] * (joins - 1)
    rng.shuffle(blocks)
    acts = [act for block in blocks for act in block]
    return [Act.JOIN, *acts, Act.LEAVE] if joins else acts


class Storm:
    """Carries a schedule out on the members of one role."""

    def __init__(
        self,
        fleet: Fleet,
        role: str,
        rng: random.Random,
        *,
        busy_moment: Callable[[], Awaitable[None]],
        pause: tuple[float, float],
        stop_seconds: float,
    ) -> None:
        self._fleet = fleet
        self._role = role
        self._rng = rng
        self._busy_moment = busy_moment
        self._pause = pause
        self._stop_seconds = stop_seconds
        self._second = f"{role}-joining"
        self.done: Counter[Act] = Counter()
        #: When each of the acts hit its member.
        self.hits: list[datetime] = []
        self.unclean_exits: list[int] = []

    async def run(self, acts: Sequence[Act]) -> None:
        """Ends with every member running but the second one."""
        for act in acts:
            await asyncio.sleep(self._rng.uniform(*self._pause))
            match act:
                case Act.JOIN:
                    self._hit()
                    member = self._fleet.start(self._second, self._role)
                    await self._fleet.until_ready(member)
                case Act.LEAVE:
                    # A member that is still starting knows no clean way to end.
                    await self._fleet.until_ready(self._member(self._second))
                    await self._busy_moment()
                    await self._end(self._member(self._second), self._rng.choice([True, False]))
                case Act.KILL | Act.TERM:
                    victim = await self._victim()
                    await self._end(victim, is_clean=act is Act.TERM)
                    await asyncio.sleep(self._rng.uniform(0, 1))
                    self._fleet.start(victim.name, self._role)
                case Act.STOP:
                    victim = await self._victim()
                    self._hit()
                    self._fleet.send(victim, signal.SIGSTOP)
                    await asyncio.sleep(self._stop_seconds)
                    self._fleet.send(victim, signal.SIGCONT)
                case Act.ENGINE:
                    # One that was ready may be between two engines by the time it is hit.
                    async with asyncio.timeout(_ENGINE_SECONDS):
                        while not self._fleet.kill_engine(await self._victim()):  # noqa: ASYNC110
                            await asyncio.sleep(1)
                    self._hit()
            self.done[act] += 1
        await self._all_ready()

    def _hit(self) -> None:
        self.hits.append(datetime.now(UTC))

    async def _end(self, member: Member, is_clean: bool) -> None:
        self._hit()
        self._fleet.send(member, signal.SIGTERM if is_clean else signal.SIGKILL)
        status = await self._fleet.until_ended(member)
        if is_clean and status:
            self.unclean_exits.append(status)

    async def _victim(self) -> Member:
        """A ready member, a moment after queries have come in."""
        while True:
            members = [m for m in self._fleet.of_role(self._role) if m.is_alive]
            assert members, f"no {self._role} is running"
            ready = [m for m in members if await asyncio.to_thread(self._fleet.is_ready, m)]
            if ready:
                break
            await asyncio.sleep(0.1)
        await self._busy_moment()
        await asyncio.sleep(self._rng.uniform(0, BUSY_SECONDS))
        return self._rng.choice(ready)

    async def _all_ready(self) -> None:
        for member in self._fleet.of_role(self._role):
            if member.is_alive:
                await self._fleet.until_ready(member)

    def _member(self, name: str) -> Member:
        return next(m for m in self._fleet.of_role(self._role) if m.name == name)
