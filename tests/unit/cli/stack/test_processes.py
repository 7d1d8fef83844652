import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.stack import procfs
from cli.stack.folder import ProcessRecord, StackFolder
from cli.stack.processes import Outcome, Processes

WAIT = "import time; print('up', flush=True); time.sleep(600)"
IGNORE_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAIT
LEAVE_A_CHILD = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAIT!r}]); {WAIT}"
)


class Started:
    """Processes of one folder, and the records of those started."""

    def __init__(self, folder: StackFolder) -> None:
        self.folder = folder
        self.processes = Processes(folder)
        self.records: dict[str, ProcessRecord] = {}

    def start(self, name: str, code: str) -> int:
        """Start Python code and wait until it has printed something."""
        record = self.processes.start(name, [sys.executable, "-c", code], os.environ)
        self.records[name] = record
        while "up" not in self.folder.log_file(name).read_text().splitlines():
            assert self.find(name) is not None, self.folder.log_file(name).read_text()
        return record.pid

    def find(self, name: str) -> int | None:
        return self.processes.find(name, self.records.get(name))

    def stop(self, name: str, patience: float = 30.0) -> Outcome:
        return self.processes.stop({name: self.records[name]}, patience)[name]

    def kill(self, name: str) -> None:
        """As `kill -9 $(cat run/NAME.pid)` does, and wait until it is dead."""
        pid = int(self.folder.pid_file(name).read_text())
        os.kill(pid, signal.SIGKILL)
        while self.find(name) is not None:
            pass


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Started]:
    started = Started(StackFolder(tmp_path / ".lorelay"))
    yield started
    for name in started.records:
        started.stop(name, patience=0.0)


def test_a_process_is_found_by_its_pid_file_while_it_runs(stack: Started) -> None:
    pid = stack.start("worker", WAIT)
    assert stack.folder.pid_file("worker").read_text() == f"{pid}\n"
    assert Processes(stack.folder).find("worker", stack.records["worker"]) == pid


def test_stopping_ends_it_and_removes_its_files(stack: Started) -> None:
    stack.start("worker", WAIT)
    stack.folder.address_file("worker").write_text("127.0.0.1:1\n")
    assert stack.stop("worker") is Outcome.ENDED
    assert stack.find("worker") is None
    assert list((stack.folder.root / "run").iterdir()) == []


def test_one_that_does_not_end_is_killed(stack: Started) -> None:
    stack.start("worker", IGNORE_TERM)
    assert stack.stop("worker", patience=0.1) is Outcome.KILLED
    assert stack.find("worker") is None


def test_what_it_started_ends_with_it(stack: Started) -> None:
    pid = stack.start("worker", LEAVE_A_CHILD)
    assert len(procfs.session_members(pid)) == 2
    stack.stop("worker")
    assert procfs.session_members(pid) == []


def test_what_a_killed_process_leaves_behind_is_swept_away(stack: Started) -> None:
    pid = stack.start("worker", LEAVE_A_CHILD)
    stack.kill("worker")
    assert len(procfs.session_members(pid)) == 1
    stack.processes.sweep(stack.records["worker"])
    assert procfs.session_members(pid) == []


def test_a_killed_process_leaves_a_stale_pid_file(stack: Started) -> None:
    stack.start("worker", WAIT)
    assert not stack.processes.is_stale("worker", stack.records["worker"])
    stack.kill("worker")
    assert stack.find("worker") is None
    assert stack.processes.is_stale("worker", stack.records["worker"])


def test_a_pid_that_another_program_has_now_is_neither_found_nor_touched(stack: Started) -> None:
    pid = stack.start("stranger", WAIT)
    older = replace(stack.records["stranger"], start_ticks=1)
    stack.folder.pid_file("worker").write_text(f"{pid}\n")
    assert stack.processes.find("worker", older) is None
    assert stack.processes.stop({"worker": older}, patience=1.0) == {"worker": Outcome.NOT_RUNNING}
    assert stack.find("stranger") == pid


@pytest.mark.parametrize("content", ["", "none\n"])
def test_a_broken_pid_file_names_no_process(stack: Started, content: str) -> None:
    stack.start("worker", WAIT)
    stack.folder.pid_file("worker").write_text(content)
    assert stack.find("worker") is None


def test_the_log_goes_on_after_a_restart(stack: Started) -> None:
    for _ in range(2):
        stack.start("worker", WAIT)
        stack.stop("worker")
    assert stack.folder.log_file("worker").read_text().count("--- worker started") == 2
