"""Why nobody answers."""

from pathlib import Path

import pytest

from cli.diagnosis import who_is_missing
from cli.stack.folder import ProcessRecord, StackFolder, StackRecord

KAFKA = "127.0.0.1:9092"
ENDED = ProcessRecord(pid=2**22 + 1, start_ticks=1, started="2026-01-01T00:00:00+00:00")


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    folder = StackFolder(tmp_path)
    folder.create()
    return folder


def test_without_a_stack_here_the_processes_may_be_elsewhere(folder: StackFolder) -> None:
    said = who_is_missing(KAFKA, folder.root)

    assert KAFKA in said
    assert "lorelay worker" in said


def test_a_stack_of_another_cluster_says_nothing_about_this_one(folder: StackFolder) -> None:
    folder.write(StackRecord("127.0.0.1:1", {"worker": ENDED}))

    assert who_is_missing(KAFKA, folder.root).startswith("Does a router and a worker run on")


def test_processes_that_ended_or_never_ran_are_named(folder: StackFolder) -> None:
    folder.write(StackRecord(KAFKA, {"worker": ENDED}))

    said = who_is_missing(KAFKA, folder.root)

    assert "worker: not running" in said
    assert "router: never started" in said
    assert "lorelay up" in said
