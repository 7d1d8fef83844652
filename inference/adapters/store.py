"""Which adapter versions the engine holds, and how one gets there on its first request."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic

from inference.adapters.verify import unverified, verify
from inference.engine.config import LoraModule
from inference.engine.protocol import Engine, LoadedAdapter
from schemas.errors import AdapterCorrupt, AdapterUnavailable, ConfigurationError
from schemas.records import AdapterVersion, Artifact
from streams.registry.artifact import BaseModules, check_folder
from streams.registry.files import MissingArtifact, Roots, UnsoundArtifact

#: Seconds for which a failure that may pass, such as a folder not mounted yet, is not tried again.
#: A request that meets it is tried again after that: see RequestError.retry_after_s.
RETRY_AFTER_S = 3.0
#: Failures that are remembered; all of them travel with every heartbeat.
MOST_FAILURES = 256


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why, when, by the store's clock, and with which artifact a version could not be loaded."""

    error: AdapterUnavailable
    at: float
    artifact: Artifact | None


class AdapterStore:
    """Adapters that are verified and loaded once, and unloaded when others need their place.

    ``base`` is what ``artifact.base_modules`` found in the base model's folder; files must lie in
    ``roots``, where there are any. Without ``verify_files`` the engine is a server that has the
    files, and they are not looked at here.
    ``clock`` gives seconds. All calls run on one event loop; files are read in threads.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        base: BaseModules | None = None,
        roots: Roots = (),
        verify_files: bool = True,
        retry_after_s: float = RETRY_AFTER_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engine = engine
        self._base = base
        self._roots = roots
        self._verify_files = verify_files
        self._retry_after_s = retry_after_s
        self._clock = clock
        # In order of use, least recently used first.
        self._resident: dict[str, LoadedAdapter] = {}
        self._preloaded: dict[str, str] = {}
        self._loading: dict[str, asyncio.Task[LoadedAdapter]] = {}
        # In order of time, the oldest first.
        self._failures: dict[str, _Failure] = {}
        self._making_room = asyncio.Lock()

    @property
    def resident(self) -> tuple[str, ...]:
        """Keys of the loaded versions, least recently used first."""
        return tuple(self._resident)

    @property
    def failures(self) -> dict[str, str]:
        """Why versions could not be loaded at the last try, by key."""
        return {key: str(failure.error) for key, failure in self._failures.items()}

    async def ensure(self, version: AdapterVersion) -> LoadedAdapter:
        """The version, loaded in the engine; whoever asks meanwhile waits for the same load.

        Raises AdapterUnavailable, for a while from memory, or AdapterCorrupt, which stays until
        the version names another artifact.
        """
        key = version.key
        if key in self._preloaded:
            await self._adopt(version)
        if loaded := self._resident.pop(key, None):
            self._resident[key] = loaded
            return loaded
        if key not in self._loading:
            self._raise_known_failure(version)
            self._loading[key] = asyncio.create_task(self._load(version), name=f"load {key}")
            self._loading[key].add_done_callback(partial(self._done, key))
        # Shielded: one caller's cancellation must not take the adapter from the others.
        return await asyncio.shield(self._loading[key])

    async def preload(self, modules: Iterable[LoraModule]) -> None:
        """Load the adapters of vLLM's option ``lora_modules``; ConfigurationError if one fails."""
        for module in modules:
            try:
                found = await asyncio.to_thread(
                    check_folder, module.path, base=self._base, roots=self._roots
                )
                await self._place(
                    LoadedAdapter(
                        module.name, str(found.path), found.config.rank, files=found.files
                    )
                )
            except (UnsoundArtifact, AdapterUnavailable) as error:
                raise ConfigurationError(f"lora_modules: {module.name}: {error}") from error
            self._preloaded[module.name] = found.sha256

    async def unload(self, key: str) -> None:
        """Free the version's place once its running requests are done, as when it is retired."""
        if self._resident.pop(key, None):
            self._preloaded.pop(key, None)
            await self._engine.unload(key)

    def forget(self) -> None:
        """The engine was started anew and holds nothing any more."""
        self._resident.clear()
        self._preloaded.clear()

    def forget_failures(self, is_wanted: Callable[[str], bool]) -> None:
        """Drop the failures of versions that nobody can ask for any more, by their keys."""
        self._failures = {key: value for key, value in self._failures.items() if is_wanted(key)}

    async def _adopt(self, version: AdapterVersion) -> None:
        """Take a preloaded adapter for the registered version, if its weights are the same."""
        sha256 = self._preloaded.pop(version.key)
        if version.artifact is not None and version.artifact.sha256.lower() == sha256:
            loaded = self._resident[version.key]
            self._resident[version.key] = replace(loaded, prompt_template=version.prompt_template)
        else:
            await self.unload(version.key)

    async def _load(self, version: AdapterVersion) -> LoadedAdapter:
        try:
            loaded = await self._verified(version)
            await self._place(loaded)
        except AdapterUnavailable as error:
            self._remember(version, error)
            raise
        self._failures.pop(version.key, None)
        return loaded

    def _remember(self, version: AdapterVersion, error: AdapterUnavailable) -> None:
        error.retry_after_s = self._retry_after_s
        self._failures.pop(version.key, None)
        while len(self._failures) >= MOST_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[version.key] = _Failure(error, self._clock(), version.artifact)

    async def _verified(self, version: AdapterVersion) -> LoadedAdapter:
        if not self._verify_files:
            return unverified(version, self._engine.limits)
        return await asyncio.to_thread(
            verify, version, self._engine.limits, self._base, self._roots
        )

    async def _place(self, adapter: LoadedAdapter) -> None:
        async with self._making_room:
            while len(self._resident) >= self._engine.limits.max_cpu_loras > 0:
                await self.unload(next(iter(self._resident)))
            await self._engine.load(adapter)
            await self._check_unchanged(adapter)
            self._resident[adapter.key] = adapter

    async def _check_unchanged(self, adapter: LoadedAdapter) -> None:
        """The engine opened the files by itself: what it read is what was verified, or is freed."""
        try:
            for state in adapter.files:
                await asyncio.to_thread(state.check_unchanged)
        except MissingArtifact as error:
            await self._engine.unload(adapter.key)
            raise AdapterUnavailable(adapter.key, str(error)) from error

    def _done(self, key: str, task: asyncio.Task[LoadedAdapter]) -> None:
        self._loading.pop(key)
        if not task.cancelled():
            task.exception()  # Seen, also if every caller has gone.

    def _raise_known_failure(self, version: AdapterVersion) -> None:
        failure = self._failures.get(version.key)
        if failure is None or failure.artifact != version.artifact:
            return
        is_fresh = self._clock() - failure.at < self._retry_after_s
        if is_fresh or isinstance(failure.error, AdapterCorrupt):
            raise failure.error.with_traceback(None)
