"""`make chaos` with a short seed: the broker itself is killed, and comes back."""

import subprocess
import sys

import pytest

from tests.chaos.fleet import ROOT

pytestmark = pytest.mark.timeout(900)


def chaos(*options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.chaos", *options],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_a_fault_has_a_row_and_the_promise_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    done = chaos("--seed", "3", "--minutes", "0.6", "--only", "broker killed")
    with capsys.disabled():
        print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("│ broker killed"))
    _, _, hits, sent, distinct, doubled, lost, *_ = (cell.strip() for cell in row.split("│"))
    assert int(hits) >= 2
    assert sent == distinct != "0"
    assert (doubled, lost) == ("0", "0")


def test_an_unknown_fault_is_told_with_those_there_are() -> None:
    done = chaos("--only", "earthquake")
    assert done.returncode == 2
    assert "broker killed" in done.stdout
