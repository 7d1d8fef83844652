"""No engine process outlives the worker, even one that is ended by SIGKILL.

vLLM's EngineCore is a child process that does not watch its parent. So the worker wraps the
function that this process runs: there, a thread waits on a pidfd of the worker and then ends
the EngineCore with everything below it. The wait is the kernel's, so nothing is polled, and a
pidfd names a process and not a thread (PR_SET_PDEATHSIG would fire when the thread ends that
started the child). The workers below an EngineCore watch it through a pipe of vLLM's own.

The EngineCore also gets a session of its own: a Ctrl-C in the worker's terminal then reaches
the worker alone, which can finish what it has begun.
"""

import gc
import multiprocessing
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ENV = "LORELAY_ENGINE_LIFELINE"


def offer() -> None:
    """Make this process the one that its children can ``attach`` to."""
    os.environ[_ENV] = f"{os.getpid()}:{_start_time(os.getpid())}"


def install() -> None:
    """Tie every EngineCore that this process starts from now on to this process."""
    from vllm.v1.engine.core import EngineCoreProc

    offer()
    if not isinstance(EngineCoreProc.run_engine_core, _Guarded):
        # A class attribute, not a subclass: vLLM names the class itself as the process target.
        EngineCoreProc.lorelay_unguarded = staticmethod(EngineCoreProc.run_engine_core)
        EngineCoreProc.run_engine_core = _Guarded()


class _Guarded:
    """``run_engine_core`` as vLLM hands it to a process that it spawns."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        run_engine_core(*args, **kwargs)

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _arrived, ()


def _arrived() -> Callable[..., None]:
    """The first thing that an EngineCore reads; its arguments import vLLM.

    Collections wait until that is done, as in ``streams.garbage.importing``.
    """
    gc.disable()
    return run_engine_core


def run_engine_core(*args: Any, **kwargs: Any) -> None:
    """What an EngineCore process runs: vLLM's own function, on the lifeline."""
    from vllm.utils.system_utils import kill_process_tree
    from vllm.v1.engine.core import EngineCoreProc

    gc.freeze()
    gc.enable()
    if os.getpid() != os.getsid(0):
        os.setsid()
    attach(lambda: kill_process_tree(os.getpid()))
    run = getattr(EngineCoreProc, "lorelay_unguarded", EngineCoreProc.run_engine_core)
    run(*args, **kwargs)


def end_engine_cores() -> None:
    """Kill this process's EngineCores; what is below them ends by itself."""
    for child in multiprocessing.active_children():
        if child.name.startswith("EngineCore"):
            child.kill()


def attach(end: Callable[[], None]) -> None:
    """Call ``end`` in a thread once the process that offered its lifeline has ended."""
    pid, started = os.environ[_ENV].split(":")
    try:
        pidfd = os.pidfd_open(int(pid))
    except ProcessLookupError:
        end()
        return
    # Opened first, compared after: a pid that was given to another process shows here.
    if _start_time(int(pid)) != started:
        end()
        return
    threading.Thread(target=_wait, args=(pidfd, end), name="lifeline", daemon=True).start()


def _wait(pidfd: int, end: Callable[[], None]) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    end()


def _start_time(pid: int) -> str:
    # Field 22 of proc(5)'s stat, in clock ticks since boot; the name in brackets may hold spaces.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return ""
    return stat.rpartition(")")[2].split()[19]
