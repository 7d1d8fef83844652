"""Brings an adapter's files here, and never more bytes than were announced and are allowed.

All of it runs on fsspec's loop, which has a thread of its own: `beside` brings it there, or a
`Fetching`.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import fsspec.asyn

from streams.registry.files import MissingArtifact, UnsoundArtifact
from streams.registry.remote.fetching import OnReceived, told_to_nobody
from streams.registry.remote.opened import RemoteFile, broken
from streams.registry.remote.places import Place, Sources
from streams.registry.remote.s3 import opened_s3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Received:
    """What was written: its length, and its sha256 as hexadecimal digits."""

    size_bytes: int
    sha256: str


async def beside(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on fsspec's loop, beside this one; who is cancelled here cancels it there."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, fsspec.asyn.get_loop()))


async def download(
    folder: Place,
    name: str,
    target: BinaryIO,
    *,
    sources: Sources,
    idle_s: float,
    max_bytes: int,
    size_bytes: int | None = None,
    on_received: OnReceived = told_to_nobody,
) -> Received:
    """Writes the file ``name`` of ``folder``: of ``size_bytes`` exactly, where that is given.

    Raises MissingArtifact for what may pass, UnsoundArtifact for a file of another size, and
    OSError where it can't be written.
    """
    limit = max_bytes if size_bytes is None else size_bytes
    digest = hashlib.sha256()
    received = 0
    async with opened(folder, name, sources, idle_s) as file:
        if file.size_bytes is not None:
            _check_size(file, file.size_bytes, limit, size_bytes)
        async for chunk in file.chunks:
            received += len(chunk)
            _check_size(file, received, limit, None)
            digest.update(chunk)
            target.write(chunk)
            on_received(file.url, received, file.size_bytes)
        if file.size_bytes not in (None, received):
            raise broken(file.url, f"it ended after {received:,} of {file.size_bytes:,} bytes")
        _check_size(file, received, limit, size_bytes)
    target.flush()
    return Received(received, digest.hexdigest())


@asynccontextmanager
async def opened(
    folder: Place, name: str, sources: Sources, idle_s: float
) -> AsyncIterator[RemoteFile]:
    """The file ``name`` of ``folder``, open for reading. Raises MissingArtifact."""
    if not any(source.holds(folder) for source in sources):
        raise MissingArtifact(f"{folder} may not be fetched.")
    url = folder.file(name)
    if folder.scheme == "s3":
        file = opened_s3(url, idle_s)
    else:
        # Imported here: processes that fetch nothing needn't wait for httpx.
        from streams.registry.remote.https import opened_https

        file = opened_https(url, sources, idle_s)
    async with file as found:
        yield found


def _check_size(file: RemoteFile, found: int, limit: int, expected: int | None) -> None:
    if found > limit:
        raise UnsoundArtifact(f"{file.url} has more than the {limit:,} bytes that are allowed.")
    if expected is not None and found != expected:
        raise UnsoundArtifact(
            f"{file.url} has {found:,} bytes, but {expected:,} were registered: put the registered "
            "file back, or register this one under a new version."
        )
