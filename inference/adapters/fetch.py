"""Brings an adapter that lies elsewhere to this host's disk, once."""

import asyncio
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import monotonic

from inference.adapters.shelf import Absent, Shelf, Shelved, name_of
from schemas.records import Artifact
from streams.registry.artifact import CONFIG, MAX_BYTES, MAX_CONFIG_BYTES, WEIGHTS
from streams.registry.files import MissingArtifact, UnsoundArtifact
from streams.registry.remote.download import beside, download
from streams.registry.remote.places import Place, allowed_place
from streams.registry.remote.settings import RemoteSettings

OnFetched = Callable[[float, int], None]
"""Told of every try: its seconds, and the bytes that it brought, 0 where it failed."""


class Fetcher:
    """Fetches to a shelf, ``most_at_once`` at once; what is there is not fetched again."""

    def __init__(
        self,
        shelf: Shelf,
        settings: RemoteSettings,
        *,
        most_at_once: int,
        on_fetched: OnFetched = lambda seconds, received: None,
    ) -> None:
        self.shelf = shelf
        self._settings = settings
        self._sources = settings.sources
        self._turns = asyncio.Semaphore(most_at_once)
        self._on_fetched = on_fetched
        self._is_open = False

    async def fetch(self, artifact: Artifact) -> Shelved:
        """The adapter's folder on the shelf, with weights of the size and sha256 registered.

        Raises MissingArtifact for what may pass, else UnsoundArtifact.
        """
        name = name_of(artifact)
        place = allowed_place(artifact.uri, self._sources)
        if not 0 < artifact.size_bytes <= MAX_BYTES:
            raise UnsoundArtifact(
                f"{artifact.size_bytes:,} bytes were registered; {MAX_BYTES:,} are allowed."
            )
        return await beside(self._find_or_fetch(name, place, artifact))

    async def _find_or_fetch(self, name: str, place: Place, artifact: Artifact) -> Shelved:
        if not self._is_open:
            self.shelf.open()
            self._is_open = True
        seconds = self._settings.adapter_fetch_seconds
        try:
            async with asyncio.timeout(seconds):
                found = await self.shelf.find(name)
                if isinstance(found, Shelved):
                    return found
                return await self._fetch_in_turn(found, place, artifact)
        except TimeoutError as error:
            raise MissingArtifact(f"{place} was not here after {seconds:g} s.") from error

    async def _fetch_in_turn(self, absent: Absent, place: Place, artifact: Artifact) -> Shelved:
        try:
            async with self._turns:
                return await self._fetch(absent, place, artifact)
        except BaseException:
            self.shelf.give_up(absent)
            raise

    async def _fetch(self, absent: Absent, place: Place, artifact: Artifact) -> Shelved:
        began = monotonic()
        received = 0
        try:
            config = await self._config(place)
            sizes = {CONFIG: len(config), WEIGHTS: artifact.size_bytes}
            async with self.shelf.room(absent, sizes) as folder:
                with self.shelf.errors():
                    (folder / CONFIG).write_bytes(config)
                await self._weights(place, folder / WEIGHTS, artifact)
                shelved = self.shelf.keep(absent)
            received = sum(sizes.values())
            return shelved
        finally:
            self._on_fetched(monotonic() - began, received)

    async def _config(self, place: Place) -> bytes:
        held = BytesIO()
        await download(
            place,
            CONFIG,
            held,
            sources=self._sources,
            idle_s=self._settings.adapter_idle_seconds,
            max_bytes=MAX_CONFIG_BYTES,
        )
        return held.getvalue()

    async def _weights(self, place: Place, file: Path, artifact: Artifact) -> None:
        with self.shelf.errors(), file.open("r+b") as target:
            received = await download(
                place,
                WEIGHTS,
                target,
                sources=self._sources,
                idle_s=self._settings.adapter_idle_seconds,
                max_bytes=MAX_BYTES,
                size_bytes=artifact.size_bytes,
            )
        if received.sha256 != artifact.sha256.lower():
            raise UnsoundArtifact(
                f"{place.file(WEIGHTS)} has sha256 {received.sha256}, but {artifact.sha256} was "
                "registered: put the registered file back, or register this one under a new "
                "version."
            )
