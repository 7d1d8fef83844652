"""`python -m tests.servers.broker COMMAND`: runs it beside a broker that its tests share.

Each run of pytest would start one of its own: four, of 33 to 69 seconds of CPU each.
"""

import os
import shutil
import sys
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

from cli.stack.broker import running_broker

_MEMORY = Path("/dev/shm")
_BYTES_WANTED = 4 * 1024**3


def main(command: list[str]) -> int:
    """The command's exit status; it finds the broker in LORELAY_KAFKA."""
    with TemporaryDirectory(dir=_place()) as folder, running_broker(Path(folder)) as address:
        # What make hands on to a make below it are open files.
        process = Popen(command, env=os.environ | {"LORELAY_KAFKA": address}, close_fds=False)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the command was told, too, and ends before its broker does


def _place() -> Path | None:
    """Where the broker's files are: in memory if there is room, else among temporary files.

    A set of topics, made for a test and deleted after it, took the broker 0.40 s of CPU with its
    files on a disk and 0.19 in memory; all tests of tests/integration/kafka took it 30 and 21.
    """
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _BYTES_WANTED
    return _MEMORY if is_roomy else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
