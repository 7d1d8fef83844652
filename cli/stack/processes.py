"""Background processes that are found again by their pid files."""

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum

from cli.stack import procfs
from cli.stack.folder import ProcessRecord, StackFolder

#: Python ignores these, and a child would inherit that.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_LOG_LIMIT_BYTES = 20_000_000
_POLL_SECONDS = 0.05
_KILL_PATIENCE_SECONDS = 10.0


class Outcome(Enum):
    """What `stop` found and did."""

    NOT_RUNNING = "was not running"
    ENDED = "stopped"
    KILLED = "did not end in time and was killed"


class Processes:
    """Starts, finds and stops the processes of one stack folder.

    Each is the leader of a session of its own: it outlives the terminal, and whatever it
    leaves behind can be found by the session's id, which is its pid.
    """

    def __init__(self, folder: StackFolder) -> None:
        self._folder = folder

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str]
    ) -> ProcessRecord:
        """Start ``command`` in the background, its output going to the log of ``name``."""
        self._folder.create()
        self._folder.address_file(name).unlink(missing_ok=True)
        self._folder.api_file(name).unlink(missing_ok=True)
        log = self._folder.log_file(name)
        if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        started = datetime.now(UTC).isoformat(timespec="seconds")
        with log.open("ab") as output:
            output.write(f"--- {name} started {started} ---\n".encode())
            output.flush()
            # Not subprocess.Popen, whose object wants to outlive the child.
            pid = os.posix_spawnp(
                command[0],
                list(command),
                environment,
                setsid=True,
                setsigdef=_IGNORED_BY_PYTHON,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                ],
            )
        self._folder.pid_file(name).write_text(f"{pid}\n")
        found = procfs.stat(pid)
        return ProcessRecord(pid, found.start_ticks if found else 0, started)

    def find(self, name: str, record: ProcessRecord | None) -> int | None:
        """The pid of ``name`` if it runs; None if it ended or its pid is another program's now."""
        pid = self._recorded_pid(name)
        if pid is None or record is None or record.pid != pid:
            return None
        _reap(pid)
        found = procfs.stat(pid)
        if found is None or found.ended or found.start_ticks != record.start_ticks:
            return None
        return pid

    def is_stale(self, name: str, record: ProcessRecord | None) -> bool:
        """Whether a pid file is there whose process is not."""
        return self._folder.pid_file(name).exists() and self.find(name, record) is None

    def stop(self, records: Mapping[str, ProcessRecord], patience: float) -> dict[str, Outcome]:
        """End processes, by name, and all they started; by force after ``patience`` seconds."""
        running = {name for name, record in records.items() if self.find(name, record)}
        for name in running:
            with suppress(ProcessLookupError):
                os.kill(records[name].pid, signal.SIGTERM)
        _wait(lambda: not any(self.find(name, records[name]) for name in running), patience)
        return {name: self._clear(name, record, running) for name, record in records.items()}

    def _clear(self, name: str, record: ProcessRecord, running: Collection[str]) -> Outcome:
        outcome = Outcome.ENDED if name in running else Outcome.NOT_RUNNING
        if self.find(name, record) is not None:
            outcome = Outcome.KILLED
        self.sweep(record)
        self._folder.pid_file(name).unlink(missing_ok=True)
        self._folder.address_file(name).unlink(missing_ok=True)
        self._folder.api_file(name).unlink(missing_ok=True)
        return outcome

    def sweep(self, record: ProcessRecord | None) -> None:
        """Kill what is left of the process's session; nothing if its pid is another program's.

        The kernel reuses no pid while it still names a session, so members without their
        leader are of the session that we made.
        """
        if record is None:
            return
        leader = procfs.stat(record.pid)
        if leader is not None and leader.start_ticks != record.start_ticks:
            return
        for member in procfs.session_members(record.pid):
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
        _wait(lambda: not procfs.session_members(record.pid), _KILL_PATIENCE_SECONDS)
        _reap(record.pid)

    def _recorded_pid(self, name: str) -> int | None:
        try:
            return int(self._folder.pid_file(name).read_text())
        except (OSError, ValueError):
            return None


def _reap(pid: int) -> None:
    """Take the exit status of ``pid`` if it is a child of this very process and has ended."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether ``condition`` came true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
