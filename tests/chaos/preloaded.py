"""`lorelay` commands that are forked from a process which has imported what they need.

Imports are most of what a start costs, half a second to two of CPU each, and tests start commands
by the hundred. From the fork on nothing differs from `lorelay COMMAND`: its own session, what it
prints, its variables, its exit status. `tests/e2e` and `tests/integration/stack` start them as
users do.
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
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.chaos.preloading"])
_PR_SET_PDEATHSIG = 1


class PreloadedProcess:
    """`lorelay ARGUMENTS` as a process of its own; it ends with this one, however this one ends.

    What it prints is appended to ``output``, and its complaints to ``errors`` where that is given.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        errors: Path | None = None,
    ) -> None:
        self._lock = threading.Lock()
        printed = (str(output), str(errors or output))
        self._process = _CONTEXT.Process(
            target=_run, args=(list(arguments), dict(environment), str(folder), *printed)
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


class PreloadedCommand(PreloadedProcess):
    """A command whose end is waited for, and what it prints read."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._printed = TemporaryDirectory()
        self._files = [Path(self._printed.name) / name for name in ("output", "errors")]
        super().__init__(arguments, environment, folder, *self._files)

    @property
    def printed(self) -> str:
        """What it has printed by now."""
        return "".join(file.read_text(encoding="utf-8") for file in self._files)

    def completed(self, timeout: float) -> "subprocess.CompletedProcess[str]":
        """Its status and all that it has printed. Raises: subprocess.TimeoutExpired."""
        status = self.wait(timeout)
        printed = (file.read_text(encoding="utf-8") for file in self._files)
        completed = subprocess.CompletedProcess([], status, *printed)
        self.close()
        return completed

    def close(self) -> None:
        """Ends it, and forgets what it has printed."""
        if self.poll() is None:
            self.kill()
            self.wait()
        self._printed.cleanup()


def _run(
    arguments: list[str], environment: Mapping[str, str], folder: str, output: str, errors: str
) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in ((1, output), (2, errors)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    faulthandler.enable()
    sys.argv[:] = ["lorelay", *arguments]
    from cli.main import main

    try:
        status = main()
    finally:
        # multiprocessing leaves these out.
        atexit._run_exitfuncs()
    sys.exit(status)
