"""An adapter's folder elsewhere as a folder here, for as long as it is looked at."""

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from streams.registry.artifact import CONFIG, MAX_BYTES, MAX_CONFIG_BYTES, WEIGHTS
from streams.registry.files import MissingArtifact
from streams.registry.remote.download import download
from streams.registry.remote.fetching import Fetching
from streams.registry.remote.opened import NotThere
from streams.registry.remote.places import NotAllowed, Place, allowed_place
from streams.registry.remote.s3 import listed_s3
from streams.registry.remote.settings import RemoteSettings

T = TypeVar("T")

PEFT_FILES: Final[Mapping[str, int]] = {CONFIG: MAX_CONFIG_BYTES, WEIGHTS: MAX_BYTES}
"""The files that PEFT writes, and how many bytes each may have."""

#: Of what lies in a bucket, under whatever name, only this comes near a path here.
_PLAIN_NAME: Final = re.compile(r"[\w-][\w.-]*")


@contextmanager
def copied(uri: str, settings: RemoteSettings, fetching: Fetching) -> Iterator["Copy"]:
    """The folder at ``uri``, of which nothing is here yet. Raises MissingArtifact."""
    try:
        place = allowed_place(uri, settings.sources)
    except NotAllowed as error:
        allowed = ",".join([*settings.adapter_sources, str(error.place.parent)])
        raise MissingArtifact(
            f"{error} For example LORELAY_ADAPTER_SOURCES={allowed}, in this process's "
            "environment and in the workers'."
        ) from error
    with tempfile.TemporaryDirectory(prefix="lorelay-adapter-") as name:
        yield Copy(place, Path(name).resolve(), settings, fetching)


class Copy:
    """Made by `copied`. What is fetched lies in ``folder``; every call blocks until it does.

    Raises MissingArtifact, or UnsoundArtifact for files that are too large.
    """

    def __init__(
        self, place: Place, folder: Path, settings: RemoteSettings, fetching: Fetching
    ) -> None:
        self.uri = str(place)
        self.can_be_listed = place.scheme == "s3"
        self.folder = folder
        self._place = place
        self._settings = settings
        self._fetching = fetching
        self._ends_at = monotonic() + settings.adapter_fetch_seconds

    def fetch(self, files: Mapping[str, int]) -> None:
        """Each of the files, of so many bytes at most."""
        for name, max_bytes in files.items():
            self._here(partial(self._fetch, name, max_bytes))

    def fetch_if_there(self, name: str, max_bytes: int) -> bool:
        """Whether there is such a file; if so, it is here now."""
        try:
            self.fetch({name: max_bytes})
        except NotThere:
            return False
        return True

    def fetch_all(self, ending: str, max_bytes: int) -> None:
        """All whose name ends so, less what is larger, of a folder that can be listed."""
        sizes = self._here(partial(listed_s3, self.uri, self._settings.adapter_idle_seconds))
        for name, size in sizes.items():
            if name.endswith(ending) and size <= max_bytes and _PLAIN_NAME.fullmatch(name):
                self.fetch({name: max_bytes})

    def in_its_place(self, text: str) -> str:
        """The text, with the folder here named as what it is a copy of."""
        return text.replace(str(self.folder), self.uri)

    def _here(self, work: Callable[[], Awaitable[T]]) -> T:
        return self._fetching.here(self._in_time(work))

    async def _in_time(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(max(0.0, self._ends_at - monotonic())):
                return await work()
        except TimeoutError as error:
            raise MissingArtifact(
                f"{self.uri} was not here after {self._settings.adapter_fetch_seconds:g} s."
            ) from error
        except OSError as error:
            raise MissingArtifact(
                f"{self.uri} can't be written to {self.folder.parent}: {error.strerror}."
            ) from error

    async def _fetch(self, name: str, max_bytes: int) -> None:
        path = self.folder / name
        try:
            with path.open("wb") as target:
                await download(
                    self._place,
                    name,
                    target,
                    sources=self._settings.sources,
                    idle_s=self._settings.adapter_idle_seconds,
                    max_bytes=max_bytes,
                    on_received=self._fetching.on_received,
                )
        except NotThere:
            path.unlink()
            raise
