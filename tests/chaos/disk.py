"""A disk for a broker's log that stands still when it is told to."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IMAGE_BYTES = 2 << 30  # sparse: it takes what is written
_TOOLS = ("mkfs.ext4", "mount", "umount", "fsfreeze")


class NoDisk(Exception):
    """There can be no such disk here; the text says why."""


class StallingDisk:
    """A mounted file system of its own; `folder` is on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stall(self, seconds: float) -> None:
        """Every write waits for so long, as on a disk that does not answer (ioctl FIFREEZE).

        Blocks. Whoever ends meanwhile, the disk goes on: a process of its own sees to that.
        """
        script = 'fsfreeze --freeze "$1" && sleep "$2"; fsfreeze --unfreeze "$1"'
        subprocess.run(
            ["sh", "-c", script, "sh", self.folder, f"{seconds:.2f}"],
            check=True,
            start_new_session=True,
        )


@contextmanager
def stalling_disk() -> Iterator[StallingDisk]:
    """A disk that is gone at the end of the block. Raises: NoDisk, which says what is missing."""
    if os.geteuid() != 0:
        raise NoDisk("mounting a file system needs root")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise NoDisk(f"there is no {', no '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="lorelay-disk-", ignore_cleanup_errors=True) as name:
        image, folder = Path(name) / "image", Path(name) / "disk"
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        try:
            _run("mkfs.ext4", "-q", image)
            _run("mount", "-o", "loop", image, folder)
        except subprocess.CalledProcessError as error:
            raise NoDisk(f"{error.cmd[0]}: {error.stderr.decode().strip()}") from error
        try:
            yield StallingDisk(folder)
        finally:
            # Whatever still uses it keeps it until it ends.
            _run("umount", "--lazy", folder)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
