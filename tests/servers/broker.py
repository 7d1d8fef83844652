"""`python -m tests.servers.broker COMMAND`: runs it beside a broker that its tests share.

Each run of pytest would start one of its own: four, of 33 to 69 seconds of CPU each.
"""

import os
import sys
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

from cli.stack.broker import running_broker


def main(command: list[str]) -> int:
    """The command's exit status; it finds the broker in LORELAY_KAFKA."""
    with TemporaryDirectory() as folder, running_broker(Path(folder)) as address:
        # What make hands on to a make below it are open files.
        process = Popen(command, env=os.environ | {"LORELAY_KAFKA": address}, close_fds=False)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the command was told, too, and ends before its broker does


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
