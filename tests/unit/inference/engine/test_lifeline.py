"""The lifeline, without vLLM: processes that wait for the end of another."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]

#: Starts a child on a lifeline, prints its pid and waits. The child's end closes the pipe.
WORKER = """
import subprocess, sys, time
from inference.engine import lifeline
lifeline.offer()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=1)
time.sleep(600)
"""

CHILD = """
import os, time
from inference.engine import lifeline
lifeline.attach(lambda: os._exit(0))
print("attached", flush=True)
time.sleep(600)
"""


def test_a_child_ends_with_the_worker_that_was_killed() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, CHILD], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "attached\n"
        worker.send_signal(signal.SIGKILL)
        # End of file: nobody holds the pipe any more, so the child has ended.
        assert worker.stdout.read() == ""


@pytest.mark.parametrize("worker", ["4194305:1", f"{os.getpid()}:1"], ids=["gone", "reused pid"])
def test_a_child_that_comes_too_late_ends_at_once(worker: str) -> None:
    environment = os.environ | {"LORELAY_ENGINE_LIFELINE": worker}
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        capture_output=True,
        env=environment,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (child.returncode, child.stdout) == (0, b"")
