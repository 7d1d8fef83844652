"""The faults of `make chaos`, one after the other under load."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.broker import KillableBroker, killable_broker
from tests.chaos.disk import StallingDisk, stalling_disk
from tests.chaos.promise import POISON, SESSION_TIMEOUT, Plan, Run, next_burst
from tests.chaos.proxy import Proxy, running_proxy
from tests.chaos.storm import BUSY_SECONDS, Act
from tests.chaos.test_promise_vllm import ENGINE as VLLM
from tests.chaos.traffic import Traffic

_QUERIES_PER_SECOND = 30
#: Seconds of a run for each act, so that the fleet is whole again in between.
_ACT_SECONDS = 12.0
_ECHO = {"LORELAY_ENGINE": "echo", "LORELAY_SERVICE_MS": "100", "LORELAY_MAX_NUM_SEQS": "8"}
#: Longer than a request to the broker may take, and than a member may be silent.
_AWAY_SECONDS = SESSION_TIMEOUT + 4


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run stands on; the proxy and the disk are there for the faults that need them."""

    broker: KillableBroker
    #: Where clients find the broker, host:port.
    address: str
    rng: random.Random
    proxy: Proxy | None = None
    disk: StallingDisk | None = None


#: Does the fault once.
Blow = Callable[[Run, Ground], Awaitable[None]]
Acts = tuple[dict[Act, int], dict[Act, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong.

    `acts` gives the acts on routers and on workers for a number of them; `blow`, what happens to
    the broker instead, as often.
    """

    name: str
    acts: Callable[[int], Acts] = lambda count: ({}, {})
    blow: Blow | None = None
    what: str = ""
    act_seconds: float = _ACT_SECONDS
    routers: int = 1
    workers: int = 1
    engine: Mapping[str, str] = field(default_factory=lambda: _ECHO)
    poison: float = 0.0
    rate: float = _QUERIES_PER_SECOND
    needs_proxy: bool = False
    needs_disk: bool = False

    def plan(self, seconds: float, adapters: tuple[str, ...] = ()) -> Plan:
        """The queries of that many seconds, and the acts that fit in."""
        router, worker = self.acts(self._count(seconds))
        return Plan(
            queries=round(seconds * self.rate),
            seconds=seconds,
            burst=20,
            router=router,
            worker=worker,
            poison=self.poison,
            adapters=adapters,
            # A client's own transaction need not survive its broker: that is librdkafka's promise.
            in_transactions=self.blow is None,
        )

    async def strike(self, run: Run, ground: Ground, seconds: float, traffic: Traffic) -> None:
        """The blows of that many seconds, each a moment after queries have come in."""
        if self.blow is None:
            # The queries shall come for as long, whenever the acts are done.
            await asyncio.sleep(seconds)
            return
        for _ in range(self._count(seconds)):
            await asyncio.sleep(ground.rng.uniform(1, 4))
            await run.until_ready()
            await next_burst(traffic)
            await asyncio.sleep(ground.rng.uniform(0, BUSY_SECONDS))
            run.strike(self.what)
            await self.blow(run, ground)
        await run.until_ready()

    @contextmanager
    def ground(self, folder: Path, rng: random.Random) -> Iterator[Ground]:
        """A broker of the run's own, behind what this fault needs. Raises: NoDisk."""
        if self.needs_disk:
            with stalling_disk() as disk, killable_broker(disk.folder / "broker") as broker:
                yield Ground(broker, broker.address, rng, disk=disk)
        elif self.needs_proxy:
            with (
                running_proxy() as proxy,
                killable_broker(folder / "broker", advertised=proxy.address) as broker,
            ):
                proxy.forward_to(broker.address)
                yield Ground(broker, proxy.address, rng, proxy=proxy)
        else:
            with killable_broker(folder / "broker") as broker:
                yield Ground(broker, broker.address, rng)

    def _count(self, seconds: float) -> int:
        return max(1, round(seconds / self.act_seconds))


async def _kill_broker(run: Run, ground: Ground) -> None:
    """Alone, or with a member: then nobody remembers what that was committing."""
    role = ground.rng.choice(["nobody", "router", "worker"])
    victims = run.fleet.of_role(role)
    for victim in victims:
        run.fleet.send(victim, signal.SIGKILL)
        await run.fleet.until_ended(victim)
    # In this thread: the broker ends with the thread that has started it.
    ground.broker.kill_and_restart()
    for victim in victims:
        run.fleet.start(victim.name, victim.role)


async def _restart_broker(run: Run, ground: Ground) -> None:
    ground.broker.stop()
    await asyncio.sleep(ground.rng.uniform(1, _AWAY_SECONDS))
    ground.broker.start()


async def _cut(run: Run, ground: Ground) -> None:
    assert ground.proxy is not None
    ground.proxy.cut()


async def _swallow(run: Run, ground: Ground) -> None:
    assert ground.proxy is not None
    ground.proxy.swallow()
    await asyncio.sleep(_AWAY_SECONDS)
    ground.proxy.forward()


async def _stall_disk(run: Run, ground: Ground) -> None:
    assert ground.disk is not None
    await asyncio.to_thread(ground.disk.stall, ground.rng.uniform(1, _AWAY_SECONDS))


FAULTS = (
    Fault(name="none"),
    Fault(name="routers killed", acts=lambda n: ({Act.KILL: n}, {})),
    Fault(name="workers killed", acts=lambda n: ({}, {Act.KILL: n})),
    Fault(name="routers stalled", acts=lambda n: ({Act.STOP: n}, {}), act_seconds=16),
    Fault(name="workers stalled", acts=lambda n: ({}, {Act.STOP: n}), act_seconds=16),
    Fault(name="both terminated", acts=lambda n: ({Act.TERM: n}, {Act.TERM: n})),
    Fault(
        name="two routers, three workers: members come, go, stall and are killed",
        acts=lambda n: (
            {Act.JOIN: n // 2 + 1, Act.KILL: n, Act.TERM: n // 2, Act.STOP: n // 3},
            {Act.JOIN: n // 2 + 1, Act.KILL: n, Act.TERM: n // 2, Act.STOP: n // 3},
        ),
        routers=2,
        workers=3,
    ),
    Fault(
        name="the engine dies of a query",
        engine={**_ECHO, "LORELAY_CRASH_ON": POISON},
        poison=0.01,
    ),
    Fault(
        name="vLLM's engine killed",
        acts=lambda n: ({}, {Act.ENGINE: n}),
        engine=VLLM,
        act_seconds=45,
        rate=3,
    ),
    Fault(
        name="broker killed",
        blow=_kill_broker,
        what="SIGKILL",
        act_seconds=20,
    ),
    Fault(
        name="broker stopped and started again", blow=_restart_broker, what="stop", act_seconds=25
    ),
    Fault(
        name="connections cut", blow=_cut, what="connections reset", act_seconds=6, needs_proxy=True
    ),
    Fault(
        name="the network swallows all",
        blow=_swallow,
        what="black hole",
        act_seconds=25,
        needs_proxy=True,
    ),
    Fault(
        name="the broker's disk stands still",
        blow=_stall_disk,
        what="disk stall",
        act_seconds=15,
        needs_disk=True,
    ),
)
