"""Fetched adapters on this host's disk: a bounded folder that the host's workers share.

    SHELF/adapters/NAME/   whole adapters: PEFT's two files
    SHELF/incoming/NAME/   what is being fetched, and what is on its way out
    SHELF/locks/NAME       shared by whoever uses NAME, alone with whoever fetches or deletes it
    SHELF/locks/.room      alone with whoever makes room

NAME is the sha256 that was registered and a hash of the URI: the weights are what the name says,
and no other URI's configuration is taken for this one's. A folder gets its place by one rename,
so it is there as a whole or not at all. A killed process leaves its locks by itself, and what it
was fetching to whoever next has that name alone.
"""

import asyncio
import errno
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from inference.adapters.locks import NameLock
from schemas.records import Artifact
from streams.registry.files import MissingArtifact, UnsoundArtifact

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ROOM: Final = ".room"
_LOOK_AGAIN_S: Final = 0.05
#: A disk that has just so much free is full for whoever writes its log there.
_SPARE_BYTES: Final = 64 << 20
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def name_of(artifact: Artifact) -> str:
    """The name of its folder. Raises UnsoundArtifact for a sha256 that is none."""
    sha256 = artifact.sha256.lower()
    if not _SHA256.fullmatch(sha256):
        raise UnsoundArtifact(f"{artifact.sha256!r} was registered, which is no sha256.")
    return f"{sha256}-{blake2b(artifact.uri.encode(), digest_size=8).hexdigest()}"


@dataclass(eq=False, slots=True)
class Shelved:
    """An adapter's folder that stays until `release`; ``is_new`` where it was fetched for this."""

    folder: Path
    is_new: bool
    _lock: NameLock

    def release(self) -> None:
        """It may be deleted from now on, if nobody else uses it."""
        with suppress(OSError):
            os.utime(self.folder)
        self._lock.release()


@dataclass(frozen=True, slots=True)
class Absent:
    """An adapter that is not there, and that nobody else fetches until `keep` or `give_up`."""

    name: str
    lock: NameLock


class Shelf:
    """The folder, for one process. Its methods block for a moment, or wait; none fetches.

    ``max_bytes`` bounds the files of all adapters together, those on their way among them.
    All of them raise MissingArtifact where the folder can't be used.
    """

    def __init__(
        self, folder: Path, max_bytes: int, on_evicted: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._on_evicted = on_evicted
        self._adapters = folder / "adapters"
        self._incoming = folder / "incoming"
        self._locks = folder / "locks"

    def open(self) -> None:
        """Makes the folder, and removes what killed processes have left."""
        with self.errors():
            for folder in (self._adapters, self._incoming, self._locks):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for file in tuple(self._locks.iterdir()):
                if lock := NameLock.try_exclusive(file):
                    shutil.rmtree(self._incoming / file.name, ignore_errors=True)
                    lock.release(delete=not self._place(file.name).exists())

    @property
    def root(self) -> Path:
        """Where all adapters lie, without symlinks."""
        return self._adapters.resolve()

    def size_bytes(self) -> int:
        """Of all adapters, and of those on their way, as far as this process may look."""
        return sum(map(_size_of, (*_folders(self._adapters), *_folders(self._incoming))))

    async def find(self, name: str) -> Shelved | Absent:
        """The adapter of that name, or the right to fetch it; waits while another one does."""
        with self.errors():
            while True:
                if lock := NameLock.try_shared(self._locks / name):
                    if self._place(name).is_dir():
                        os.utime(self._place(name))
                        return Shelved(self._place(name), False, lock)
                    lock.release()
                if lock := NameLock.try_exclusive(self._locks / name):
                    if not self._place(name).is_dir():
                        return Absent(name, lock)
                    lock.release()
                await asyncio.sleep(_LOOK_AGAIN_S)

    @asynccontextmanager
    async def room(self, absent: Absent, sizes: dict[str, int]) -> AsyncIterator[Path]:
        """A folder to write files of these sizes into; what is not kept is deleted at the end.

        Their bytes are reserved on the disk; whoever uses least lately makes room.
        """
        folder = self._incoming / absent.name
        try:
            with self.errors():
                async with self._making_room():
                    shutil.rmtree(folder, ignore_errors=True)
                    self._make_room(sum(sizes.values()))
                    folder.mkdir(mode=0o700)
                    for file, size in sizes.items():
                        _reserve(folder / file, size)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, absent: Absent) -> Shelved:
        """Puts the folder of `room` into its place."""
        place = self._place(absent.name)
        with self.errors():
            (self._incoming / absent.name).rename(place)
            os.utime(place)
        if not absent.lock.share():
            raise MissingArtifact(f"{place} had to make room for others at once; ask again.")
        return Shelved(place, True, absent.lock)

    def give_up(self, absent: Absent) -> None:
        """Lets others try."""
        absent.lock.release()

    def discard(self, shelved: Shelved) -> bool:
        """Deletes a folder that is not what it should be; False where somebody else uses it."""
        name = shelved.folder.name
        shelved.release()
        with self.errors():
            return self._deleted(name)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """The errors of its disk as MissingArtifact, which says what to do."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise MissingArtifact(
                    f"The disk has no room for it at {self._folder}: free some, or set "
                    "LORELAY_ADAPTER_STORE to a folder that has."
                ) from error
            raise MissingArtifact(f"{self._folder} can't be used: {error.strerror}.") from error

    @asynccontextmanager
    async def _making_room(self) -> AsyncIterator[None]:
        while (lock := NameLock.try_exclusive(self._locks / _ROOM)) is None:  # noqa: ASYNC110 - no event
            await asyncio.sleep(_LOOK_AGAIN_S)
        try:
            yield
        finally:
            lock.release()

    def _make_room(self, needed: int) -> None:
        if needed > self._max_bytes:
            raise MissingArtifact(
                f"It has {needed:,} bytes, but LORELAY_ADAPTER_STORE_BYTES allows "
                f"{self._max_bytes:,} for all adapters together."
            )
        used = self.size_bytes()
        for folder in sorted(_folders(self._adapters), key=_last_used):
            if used + needed <= self._max_bytes and self._is_free(needed):
                return
            size = _size_of(folder)
            if self._deleted(folder.name):
                used -= size
                self._on_evicted()
        if used + needed > self._max_bytes:
            raise MissingArtifact(
                f"There is no room for {needed:,} bytes in {self._folder}: {used:,} of the "
                f"{self._max_bytes:,} that LORELAY_ADAPTER_STORE_BYTES allows are in use."
            )

    def _is_free(self, needed: int) -> bool:
        return shutil.disk_usage(self._folder).free >= needed + _SPARE_BYTES

    def _deleted(self, name: str) -> bool:
        """By a rename first: what is in its place is whole. False where somebody uses it."""
        if (lock := NameLock.try_exclusive(self._locks / name)) is None:
            return False
        leaving = self._incoming / name
        try:
            shutil.rmtree(leaving, ignore_errors=True)
            if self._place(name).exists():
                self._place(name).rename(leaving)
                shutil.rmtree(leaving, ignore_errors=True)
        finally:
            lock.release(delete=not self._place(name).exists())
        return True

    def _place(self, name: str) -> Path:
        return self._adapters / name


def _folders(parent: Path) -> list[Path]:
    try:
        return [folder for folder in parent.iterdir() if folder.is_dir()]
    except OSError:
        return []


def _size_of(folder: Path) -> int:
    """Zero for one that is just being deleted, or is somebody else's."""
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except OSError:
        return 0


def _last_used(folder: Path) -> float:
    """Now for one that is just being deleted."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _reserve(file: Path, size: int) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if size:
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
