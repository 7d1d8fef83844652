import subprocess
import sys
from pathlib import Path

import pytest

from cli.environments import enter_worker_environment
from schemas.errors import ConfigurationError


def test_nothing_happens_where_the_package_is_here(tmp_path: Path) -> None:
    enter_worker_environment("json", ["worker"], python=tmp_path / "none" / "bin" / "python")


def test_a_missing_environment_is_a_plain_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make setup"):
        enter_worker_environment(
            "no_such_package", ["worker"], python=tmp_path / "none" / "bin" / "python"
        )


def test_an_environment_without_the_package_is_not_entered_again() -> None:
    with pytest.raises(ConfigurationError, match="make setup"):
        enter_worker_environment("no_such_package", [], Path(sys.prefix) / "bin" / "python")


def test_the_other_environment_goes_on_under_the_same_pid(tmp_path: Path) -> None:
    python = tmp_path / "worker" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$$" "$@"\n')
    python.chmod(0o755)
    code = (
        "import os, pathlib, cli.environments as e\n"
        "print(os.getpid(), flush=True)\n"
        f"e.enter_worker_environment('no_such_package', ['worker'], pathlib.Path({str(python)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert after == f"{before} -P -m cli.main worker"
