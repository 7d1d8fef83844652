"""Processes of Lorelay's that are forked from one which has imported what they need.

Imports are most of what a start costs, a second or two of CPU each, and tests start processes by
the dozen. From the fork on nothing differs from `lorelay ROLE`: its own session, its log, its
variables, its exit status. `tests/e2e` and `tests/integration/stack` start them as users do.
"""

import atexit
import ctypes
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import wait
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.chaos.preloading"])
_PR_SET_PDEATHSIG = 1


class PreloadedProcess:
    """`lorelay ROLE` as a process of its own; it ends with this one, however this one ends."""

    def __init__(self, role: str, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self._lock = threading.Lock()
        self._process = _CONTEXT.Process(
            target=_run, args=(role, dict(environment), str(folder), str(log))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative where a signal ended it; None while it runs."""
        # Whoever asks first reads it from a pipe: one at a time.
        with self._lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Raises: subprocess.TimeoutExpired."""
        wait([self._process.sentinel], timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return status

    def kill(self) -> None:
        self._process.kill()


def _run(role: str, environment: Mapping[str, str], folder: str, log: str) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    unread = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((unread, 0), (written, 1), (written, 2)):
        os.dup2(ours, theirs)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    faulthandler.enable()
    sys.argv[:] = ["lorelay", role]
    from cli.main import main

    try:
        status = main()
    finally:
        # multiprocessing leaves these out.
        atexit._run_exitfuncs()
    sys.exit(status)
