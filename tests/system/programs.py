"""Programs of others that these tests run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Where `make test-system` unpacks what it does not install.
_UNPACKED = ROOT / ".system" / "usr" / "bin"


def program(name: str) -> str:
    """Its path; where it is missing the test is skipped."""
    found = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}{_UNPACKED}")
    if found is None:
        pytest.skip(f"{name} is missing: `make test-system` fetches it, as root on Debian")
    return found


def output(*command: str, given: str | None = None, cwd: Path | None = None) -> bytes:
    """Standard output of a command that must succeed; of one that fails all that it says."""
    done = subprocess.run(
        command,
        input=None if given is None else given.encode(),
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        cwd=cwd,
        check=False,
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(command)}\n{said}"
    return done.stdout


def dying_with_us() -> list[str]:
    """What ends a server that a killed test run would leave behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
