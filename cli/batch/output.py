"""The file of answers: each line once, whenever the writer was killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Self

from cli.batch.lines import is_failure, may_begin_a_line, name_of
from schemas.errors import ConfigurationError


class Output:
    """Goes on where an earlier writer ended; a context manager. One writer at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.has_begun = False
        self.done: set[str] = set()
        #: Those of `done` that have an error for an answer.
        self.failed: set[str] = set()

    def __enter__(self) -> Self:
        """Raises: ConfigurationError where it can't be written, or has something else in it."""
        with self._told():
            self.has_begun = self._path.exists()
            self._file = self._path.open("a+b", buffering=0)
        try:
            with self._told():
                self._lock()
                self._take_up()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file, self._told() if error is None else suppress(OSError):
            os.fsync(self._file.fileno())

    def write(self, name: str, line: bytes) -> None:
        """Adds a line, whose id is `name`, or nothing of it. Raises: ConfigurationError."""
        with self._told():
            self._add(line)
        self._count(name, line)

    def _add(self, line: bytes) -> None:
        whole = self._file.seek(0, os.SEEK_END)
        rest = memoryview(line)
        try:
            # A disk takes what it has room for, and says only then that it is full.
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(whole)
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigurationError(
                f"{self._path} can't be written ({error.strerror})."
            ) from error

    def _lock(self) -> None:
        if not S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise ConfigurationError(f"{self._path} can't be written: it is no file.")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"Another command writes to {self._path} now.") from error

    def _take_up(self) -> None:
        """Reads what is there, and cuts off a last line that was not written to its end."""
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._lines(), 1):
            if not line.endswith(b"\n"):
                if not may_begin_a_line(line):
                    raise self._foreign(number)
                self._file.truncate(whole)
                return
            try:
                self._count(name_of(line), line)
            except (ValueError, KeyError, TypeError) as error:
                raise self._foreign(number) from error
            whole += len(line)

    def _lines(self) -> Iterator[bytes]:
        # What is written goes through no buffer; read without one it would come byte by byte.
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            yield from lines

    def _count(self, name: str, line: bytes) -> None:
        if is_failure(line):
            self.failed.add(name)
        self.done.add(name)

    def _foreign(self, number: int) -> ConfigurationError:
        return ConfigurationError(
            f"Line {number} of {self._path} is no answer of a batch, or one of an earlier version: "
            "name another file."
        )
