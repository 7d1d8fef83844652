"""No engine process outlives a worker that was killed."""

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from inference.engine import lifeline
from inference.engine.factory import make_engine
from tests.contract.conftest import Models, needs_vllm

pytestmark = [needs_vllm, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(400)]

WORKER_OF_ITS_OWN = '{"distributed_executor_backend": "mp"}'


@pytest.mark.parametrize(("options", "processes"), [("{}", 1), (WORKER_OF_ITS_OWN, 2)])
def test_killing_the_worker_ends_every_vllm_process(
    models: Models, options: str, processes: int
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.run_vllm", str(models.base), options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdout is not None
    with worker, worker.stdout:
        assert any(line == "ready\n" for line in worker.stdout)
        children = descendants(worker.pid)
        assert sum(map(_is_vllm, children)) == processes
        worker.send_signal(signal.SIGKILL)
    eventually_gone(children, seconds=30)


def test_killing_the_worker_while_vllm_starts_ends_it_too(models: Models) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.run_vllm", str(models.base), "{}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with worker:
        children = eventually_some(worker.pid, seconds=120)
        worker.send_signal(signal.SIGKILL)
    eventually_gone(children, seconds=120)


async def test_a_start_that_is_cancelled_leaves_no_process_behind(models: Models) -> None:
    engine = make_engine("vllm", models.settings())
    before = descendants(os.getpid())
    starting = asyncio.create_task(engine.start())
    while not any(_is_spawned(child) for child in descendants(os.getpid()) - before):
        assert not starting.done()
        await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    spawned = {child for child in descendants(os.getpid()) - before if _is_spawned(child)}
    eventually_gone(spawned, seconds=60)
    assert not await engine.healthy()


class Witness:
    """A configuration that tells whether collections are on when it arrives and when it is used."""

    def __init__(self, told: Connection) -> None:
        self._told = told

    def __getstate__(self) -> Connection:
        return self._told

    def __setstate__(self, told: Connection) -> None:
        self._told = told
        told.send(gc.isenabled())

    def __getattr__(self, name: str) -> None:
        self._told.send(gc.isenabled())
        raise AttributeError(name)


def test_an_engine_core_collects_again_once_vllm_is_imported() -> None:
    from vllm.v1.engine.core import EngineCoreProc

    lifeline.install()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    core = context.Process(
        target=EngineCoreProc.run_engine_core, kwargs={"vllm_config": Witness(sender)}
    )
    core.start()
    sender.close()
    assert [receiver.recv(), receiver.recv()] == [False, True]
    core.join()


def descendants(pid: int) -> set[int]:
    """All processes below ``pid``."""
    parents = {
        int(entry.name): int(stat.rpartition(")")[2].split()[1])
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (stat := _read(entry / "stat"))
    }
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {pid}


def eventually_some(pid: int, seconds: float) -> set[int]:
    """The processes below ``pid`` once there is an EngineCore among them."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        below = descendants(pid)
        if any(map(_is_spawned, below)):
            return below
        time.sleep(0.1)
    raise AssertionError("vLLM started no process")


def eventually_gone(pids: set[int], seconds: float) -> None:
    """Return once none of the processes runs any more."""
    deadline = time.monotonic() + seconds
    while alive := {pid for pid in pids if _running(pid)}:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.1)


def _is_spawned(pid: int) -> bool:
    return "spawn_main" in _read(Path(f"/proc/{pid}/cmdline"))


def _is_vllm(pid: int) -> bool:
    return _read(Path(f"/proc/{pid}/comm")).startswith("VLLM::")


def _running(pid: int) -> bool:
    stat = _read(Path(f"/proc/{pid}/stat"))
    return bool(stat) and stat.rpartition(")")[2].split()[0] != "Z"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
