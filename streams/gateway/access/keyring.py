"""The keys that count now: those of a file, read again when it changes."""

import logging
import os
from pathlib import Path

from schemas.errors import ConfigurationError
from streams.gateway.access.keys import Key, digest, read_keys

log = logging.getLogger(__name__)


class Keyring:
    """A file that becomes unreadable leaves the keys as they were.

    Raises: ConfigurationError where it can't be read at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._keys = self._read()

    def find(self, text: str) -> Key | None:
        """The key of that text, even a revoked one.

        It is looked up by its digest, so how long that takes tells nothing of the text.
        """
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._keys = self._read()
            except ConfigurationError as error:
                log.error("%s; those that were known still count", error)
        return self._keys.get(digest(text))

    def _read(self) -> dict[str, Key]:
        return {key.sha256: key for key in read_keys(self._path)}

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
