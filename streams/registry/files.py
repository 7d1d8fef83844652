"""Opens the files of an adapter's folder: plain ones, in allowed places, of bounded size.

Whoever may write to the registry names a folder, and whoever may write to the folder decides
what lies there. So a path counts by what it resolves to, a file by what was opened rather than
by what was looked at before, and nothing is read before its size is known.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final, Self

from schemas.errors import LorelayError

Roots = Sequence[Path]
"""Folders that adapters may lie in, resolved; empty where they may lie anywhere."""

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: Without waiting for the other end, should a pipe take the file's place at the last moment.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class UnsoundArtifact(LorelayError):
    """The folder is no adapter that can be served; the message says what is wrong with it."""

    code = "adapter_corrupt"


class MissingArtifact(UnsoundArtifact):
    """The folder, or a file in it, is not there, or not where this process may look."""

    code = "adapter_missing"


@dataclass(frozen=True, slots=True)
class FileState:
    """A file at a path, and what changes when its bytes do: ctime can't be set back."""

    path: Path
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: Path, found: os.stat_result) -> Self:
        """The state that ``found`` describes."""
        return cls(
            path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        )

    def check_unchanged(self) -> None:
        """Raises MissingArtifact unless the same file lies there with the same bytes."""
        try:
            now = FileState.of(self.path, self.path.stat())
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if now != self:
            raise MissingArtifact(
                f"{self.path} changed while it was being loaded; leave a registered version's "
                "files alone, and ask again."
            )


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A plain file, open for reading, and its state when it was opened."""

    file: BufferedReader
    state: FileState

    @property
    def path(self) -> Path:
        """Where it was found."""
        return self.state.path

    @property
    def size_bytes(self) -> int:
        """Its length when it was opened."""
        return self.state.size_bytes

    def read_at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset`` on; raises MissingArtifact where they can't be read."""
        try:
            self.file.seek(offset)
            found = self.file.read(count)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if len(found) != count:
            raise MissingArtifact(f"{self.path} became shorter while it was being read; ask again.")
        return found


def real_folder(folder: Path, roots: Roots = ()) -> Path:
    """The folder without symlinks and ``..``; raises MissingArtifact where it is none of ours."""
    try:
        real = Path(os.path.realpath(folder, strict=True))
        is_folder = real.is_dir()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise MissingArtifact(f"There is no folder {folder}.") from error
    except OSError as error:
        raise _unreadable(folder, error) from error
    if not is_folder:
        raise MissingArtifact(f"There is no folder {folder}.")
    _check_allowed(folder, real, roots)
    return real


@contextmanager
def opened(path: Path, max_bytes: int | None, roots: Roots = ()) -> Iterator[OpenedFile]:
    """The plain file at ``path``, of ``max_bytes`` at most (None: any), in one of ``roots``.

    Raises MissingArtifact, or UnsoundArtifact for what is no file or is too large. Never blocks
    on a pipe, and opens no device.
    """
    try:
        real = Path(os.path.realpath(path, strict=True))
        _check_allowed(path, real, roots)
        _check_plain(path, real.stat())
        descriptor = os.open(real, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _check_plain(path, found)
        if max_bytes is not None and found.st_size > max_bytes:
            raise UnsoundArtifact(f"{path} has {found.st_size:,} bytes, {max_bytes:,} are allowed.")
        state = FileState.of(path, found)
        # A link swapped since it was resolved leads elsewhere than to what was checked.
        FileState.of(real, found).check_unchanged()
        yield OpenedFile(file, state)


def _check_allowed(path: Path, real: Path, roots: Roots) -> None:
    if roots and not any(real.is_relative_to(root) for root in roots):
        leads = "" if path == real else f" leads to {real}, which"
        allowed = ", ".join(map(str, roots))
        raise MissingArtifact(
            f"{path}{leads} is outside LORELAY_ADAPTER_ROOTS ({allowed}): move the adapter there, "
            "or add its folder to that setting."
        )


def _check_plain(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise UnsoundArtifact(f"{path} is {kind}, not a file; save the adapter again.")


def _unreadable(path: Path, error: OSError | ValueError) -> MissingArtifact:
    reason = getattr(error, "strerror", None) or str(error)
    return MissingArtifact(f"{path} can't be read: {reason}.")
