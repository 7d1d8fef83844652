"""The file of answers: each line once, whenever the writer was killed."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from cli.batch.lines import is_failure
from schemas.errors import ConfigurationError


class Output:
    """Goes on where an earlier writer ended; a context manager. One writer at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.has_begun = path.exists()
        self.done: set[str] = set()
        self.failures = 0

    def __enter__(self) -> Self:
        """Raises: ConfigurationError where it can't be written, or has something else in it."""
        try:
            self._file = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise ConfigurationError(
                f"{self._path} can't be written ({error.strerror})."
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_up()
        except BlockingIOError as error:
            self._file.close()
            raise ConfigurationError(f"Another command writes to {self._path} now.") from error
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
        with suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def write(self, name: str, line: bytes) -> None:
        """Adds a line, whose id is `name`."""
        self._file.write(line)
        self.done.add(name)
        self.failures += is_failure(line)

    def _take_up(self) -> None:
        """Reads what is there, and cuts off a last line that was not written to its end."""
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                name = orjson.loads(line)["id"]
                self.failures += is_failure(line)
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigurationError(
                    f"Line {number} of {self._path} is no answer of a batch: name another file."
                ) from error
            self.done.add(name)
            whole += len(line)
        self._file.truncate(whole)
