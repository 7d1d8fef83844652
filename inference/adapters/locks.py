"""Locks that the processes of one host have on names, and lose when they end, however they do."""

import fcntl
import os
from pathlib import Path
from typing import Self


class NameLock:
    """Held until `release`; made by `try_shared` and `try_exclusive`.

    It is an advisory lock on an empty file, which only a holder of the exclusive lock deletes.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def try_shared(cls, path: Path) -> Self | None:
        """Beside others who share it; None where somebody has it alone. Raises OSError."""
        return cls._try(path, fcntl.LOCK_SH)

    @classmethod
    def try_exclusive(cls, path: Path) -> Self | None:
        """Alone; None where anybody has it. Raises OSError."""
        return cls._try(path, fcntl.LOCK_EX)

    def share(self) -> bool:
        """Lets others share what was held alone; False where somebody was quicker."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return _is_at(self._path, self._descriptor)

    def release(self, *, delete: bool = False) -> None:
        """Lets go; ``delete`` is for who has it alone and knows that the name is of no use more."""
        if delete:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    @classmethod
    def _try(cls, path: Path, kind: int) -> Self | None:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                if _is_at(path, descriptor):
                    return cls(path, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file still has its name: a lock on a deleted one locks nobody out."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
