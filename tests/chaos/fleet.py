"""Routers and workers as processes of their own, which a test may kill and start again."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from cli.stack.http import local_client
from cli.stack.readiness import NotYet, Ready, metrics_probe
from tests.chaos.preloaded import PreloadedProcess

ROOT = Path(__file__).parents[2]
#: The name that vLLM gives the process of its engine, as long as the kernel keeps it.
_ENGINE = "VLLM::EngineCore"[:15]
_READY_SECONDS = 180.0
_END_SECONDS = 60.0
#: A busy process may be long in telling its metrics.
_PAGE_SECONDS = 10.0


@dataclass(slots=True)
class Member:
    """A process by its name; the same name may be started many times, one after the other."""

    name: str
    role: str
    variables: Mapping[str, str]
    process: PreloadedProcess | None = None
    is_stopped: bool = False
    #: Whether it was told to end, one way or the other.
    is_ended: bool = False

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Fleet:
    """The processes of one test, and nothing else: only these are ever signalled."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LORELAY_")}
        # Of a crash in native code the log tells where.
        self.environment = inherited | variables | {"PYTHONFAULTHANDLER": "1"}
        self._members: dict[str, Member] = {}
        # All that members have been seen to have below them, with or without a parent by now.
        self._offspring: set[psutil.Process] = set()

    def of_role(self, role: str) -> list[Member]:
        return [member for member in self._members.values() if member.role == role]

    def start(self, name: str, role: str, **variables: str) -> Member:
        """Starts a new member, or one that has ended with the settings it had."""
        member = self._members.setdefault(name, Member(name, role, variables))
        assert not member.is_alive
        address = self.address(member)
        address.unlink(missing_ok=True)
        environment = self.environment | member.variables
        environment["LORELAY_ADDRESS_FILE"] = str(address)
        member.process = PreloadedProcess([role], environment, ROOT, self.log(name))
        member.is_ended = False
        return member

    def send(self, member: Member, number: signal.Signals) -> None:
        """Signals the member's process."""
        assert member.process is not None
        self._look_below(member)
        if member.is_alive:
            os.kill(member.process.pid, number)
            member.is_stopped = number == signal.SIGSTOP
            member.is_ended = number in {signal.SIGKILL, signal.SIGTERM}

    def kill_engine(self, member: Member) -> bool:
        """Kills the engine's process, which the member's own has started; False for none."""
        for process in self._look_below(member):
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith(_ENGINE):
                    process.kill()
                    return True
        return False

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def address(self, member: Member) -> Path:
        """The file where the member says at which address it serves its metrics."""
        return self._folder / f"{member.name}.address"

    def page(self, name: str, path: str = "/metrics") -> str:
        """What a member answers on its port; FileNotFoundError where it has none yet."""
        address = (self._folder / f"{name}.address").read_text().strip()
        return local_client().get(f"http://{address}{path}", timeout=_PAGE_SECONDS).text

    def samples(self, name: str, metric: str) -> Iterator[Sample]:
        """Those that a member has of a metric, one for each set of labels."""
        families: Iterator[Metric] = text_string_to_metric_families(self.page(name))
        for family in families:
            yield from (sample for sample in family.samples if sample.name == metric)

    def metric(self, name: str, metric: str, /, **labels: str) -> float | None:
        """The value of the sample with these labels and no others; None where it isn't there."""
        found = (s.value for s in self.samples(name, metric) if s.labels == labels)
        return next(found, None)

    def is_ready(self, member: Member) -> bool:
        """Whether the member says that it does its work."""
        self._look_below(member)
        probe = metrics_probe(self.address(member))
        return member.is_alive and not member.is_stopped and isinstance(probe(), Ready)

    def waits_for(self, member: Member) -> str:
        """What the member says that it waits for; empty where it is ready."""
        state = metrics_probe(self.address(member))()
        return state.reason if isinstance(state, NotYet) else ""

    async def until_ready(self, member: Member) -> None:
        """Returns when it is; an end before that is an error."""
        async with asyncio.timeout(_READY_SECONDS):
            while not await asyncio.to_thread(self.is_ready, member):
                if not member.is_alive:
                    tail = self.log(member.name).read_text(errors="replace")[-4000:]
                    status = member.process.poll() if member.process else None
                    raise AssertionError(
                        f"{member.name} ended with {status} before it was ready:\n{tail}"
                    )
                await asyncio.sleep(0.1)

    async def until_ended(self, member: Member) -> int:
        """The exit status; negative where a signal ended it."""
        assert member.process is not None
        return await asyncio.to_thread(member.process.wait, _END_SECONDS)

    def crashed(self) -> list[str]:
        """The members that have ended though nobody told them to."""
        return [m.name for m in self._members.values() if not m.is_alive and not m.is_ended]

    def left_behind(self) -> list[int]:
        """Pids of what ended members have started and not taken with them."""
        alive = {p for member in self._members.values() for p in self._look_below(member)}
        return [p.pid for p in self._offspring - alive if _is_running(p)]

    def close(self) -> None:
        """Ends every process, and all that they have started."""
        for member in self._members.values():
            self._look_below(member)
            if member.process is not None and member.is_alive:
                member.process.kill()
                member.process.wait(_END_SECONDS)
        for process in self._offspring:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _look_below(self, member: Member) -> list[psutil.Process]:
        """What the member has started, and what that has."""
        if member.process is None or not member.is_alive:
            return []
        try:
            found = psutil.Process(member.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self._offspring.update(found)
        return found


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
