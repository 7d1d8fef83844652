"""An adapter's files: where they lie, brought here if they lie elsewhere, and verified."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from inference.adapters.fetch import Fetcher
from inference.adapters.residents import Resident
from inference.adapters.shelf import Shelved
from inference.adapters.verify import errors_of, servable, unverified, verify
from inference.engine.protocol import EngineLimits, LoadedAdapter
from schemas.errors import AdapterUnavailable
from schemas.records import AdapterVersion, Artifact
from streams.registry.artifact import AdapterFolder, BaseModules, check_folder
from streams.registry.files import Roots
from streams.registry.remote.places import is_remote


class AdapterFiles:
    """Gets versions ready for an engine of these ``limits``.

    ``base`` is what ``artifact.base_modules`` found in the base model's folder; files must lie in
    ``roots``, where there are any, or are brought by ``fetcher``. Without ``verify_files`` the
    engine is a server that has the files, and they are not looked at here.
    """

    def __init__(
        self,
        limits: Callable[[], EngineLimits],
        *,
        base: BaseModules | None = None,
        roots: Roots = (),
        fetcher: Fetcher | None = None,
        verify_files: bool = True,
    ) -> None:
        self._limits = limits
        self._base = base
        self._roots = roots
        self._fetcher = fetcher
        self._verify_files = verify_files

    async def ready(self, version: AdapterVersion) -> Resident:
        """The version as the engine can load it; it is to be released at the end.

        Raises AdapterUnavailable, or AdapterCorrupt where nobody can serve it.
        """
        if not self._verify_files:
            return Resident(unverified(version, self._limits()))
        artifact = servable(version, self._limits())
        if not is_remote(artifact.uri):
            return Resident(await self._verified(version, None, self._roots))
        return await self._fetched(version, artifact)

    async def fetch(self, version: AdapterVersion) -> None:
        """Brings its files to this host's disk, if they lie elsewhere. Raises as `ready`."""
        artifact = servable(version, self._limits())
        if self._verify_files and is_remote(artifact.uri):
            (await self._shelved(version.key, artifact)).release()

    def size_elsewhere(self, version: AdapterVersion) -> int:
        """Bytes of its weights, if they have to be fetched; 0 for local ones."""
        artifact = version.artifact
        is_fetched = self._verify_files and artifact is not None and is_remote(artifact.uri)
        return artifact.size_bytes if artifact is not None and is_fetched else 0

    async def folder(self, path: Path) -> AdapterFolder:
        """A folder that a setting names, checked. Raises UnsoundArtifact."""
        return await asyncio.to_thread(check_folder, path, base=self._base, roots=self._roots)

    async def _fetched(self, version: AdapterVersion, artifact: Artifact) -> Resident:
        while True:
            shelved = await self._shelved(version.key, artifact)
            try:
                root = shelved.folder.parent
                return Resident(await self._verified(version, shelved.folder, (root,)), shelved)
            except AdapterUnavailable as error:
                is_gone = await self._discarded(version.key, shelved)
                if shelved.is_new:
                    raise
                # It was sound once: this disk spoilt it, and its source may still have it.
                if not is_gone:
                    raise AdapterUnavailable(
                        version.key,
                        f"its copy on this host is in use, but is spoilt: {error.__cause__}",
                    ) from error
            except BaseException:
                shelved.release()
                raise

    async def _shelved(self, key: str, artifact: Artifact) -> Shelved:
        with errors_of(key):
            return await self._fetcher_of(key).fetch(artifact)

    async def _discarded(self, key: str, shelved: Shelved) -> bool:
        with errors_of(key):
            return await asyncio.to_thread(self._fetcher_of(key).shelf.discard, shelved)

    def _fetcher_of(self, key: str) -> Fetcher:
        if self._fetcher is None:
            raise AdapterUnavailable(key, "this process fetches no adapters.")
        return self._fetcher

    async def _verified(
        self, version: AdapterVersion, folder: Path | None, roots: Roots
    ) -> LoadedAdapter:
        return await asyncio.to_thread(verify, version, self._limits(), self._base, roots, folder)
