"""Which adapter versions the engine holds, and how one gets there on its first request."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from time import monotonic
from typing import Protocol

from inference.adapters.failures import RETRY_AFTER_S, Failures
from inference.adapters.files import AdapterFiles
from inference.adapters.residents import Resident, Residents
from inference.engine.config import LoraModule
from inference.engine.protocol import Engine, LoadedAdapter
from schemas.errors import AdapterUnavailable, ConfigurationError
from schemas.records import AdapterVersion
from streams.registry.files import MissingArtifact, UnsoundArtifact


class StoreObserver(Protocol):
    """Who counts what a store does."""

    def observe_adapter_load(self, seconds: float, ok: bool) -> None:
        """An adapter was brought here, verified and loaded, or was not."""

    def count_adapter_eviction(self) -> None:
        """An adapter made room for another one in the engine."""


class _NotNow(Exception):
    """An early load that would take the place of an adapter that is needed sooner."""


class AdapterStore:
    """Adapters that are verified and loaded once, and unloaded when others need their place.

    ``needs`` tells by key how soon what waits wants an adapter, 0 next. ``clock`` gives seconds.
    All calls run on one event loop; files are read in threads.
    """

    def __init__(
        self,
        engine: Engine,
        files: AdapterFiles,
        *,
        needs: Callable[[], Mapping[str, int]] = dict,
        observer: StoreObserver | None = None,
        retry_after_s: float = RETRY_AFTER_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engine = engine
        self._files = files
        self._observer = observer
        self._clock = clock
        self._residents = Residents(needs)
        self._preloaded: dict[str, str] = {}
        self._loading: dict[str, asyncio.Task[LoadedAdapter]] = {}
        # How many wait for an adapter in earnest.
        self._demanded: Counter[str] = Counter()
        self._failures = Failures(retry_after_s, clock)
        self._making_room = asyncio.Lock()
        self._at_engine: str | None = None

    @property
    def resident(self) -> tuple[str, ...]:
        """Keys of the loaded versions, least recently used first."""
        return self._residents.keys

    @property
    def failures(self) -> dict[str, str]:
        """Why versions could not be loaded at the last try, by key."""
        return self._failures.reasons()

    @property
    def at_engine(self) -> str | None:
        """The version that the engine is loading right now, or makes room for, by its key."""
        return self._at_engine

    def is_ready(self, version: AdapterVersion) -> bool:
        """Whether `using` begins at once."""
        return self._residents.is_free(version.key) and version.key not in self._preloaded

    def holds(self, key: str) -> bool:
        """Whether it is loaded, or just being loaded."""
        return key in self._residents or key in self._loading

    def loaded_at(self, key: str) -> float | None:
        """When it was loaded, by the store's clock; None if it is not."""
        return self._residents.loaded_at(key)

    def is_known_to_fail(self, version: AdapterVersion) -> bool:
        """Whether `ensure` raises from memory."""
        return self._failures.known(version) is not None

    @asynccontextmanager
    async def using(self, version: AdapterVersion) -> AsyncIterator[LoadedAdapter]:
        """The version, loaded in the engine, where it stays until the end. Raises as `ensure`."""
        await self._residents.until_free_to_claim(version.key)
        with self._residents.claim(version.key):
            yield await self.ensure(version)

    async def ensure(self, version: AdapterVersion) -> LoadedAdapter:
        """The version, loaded in the engine; whoever asks meanwhile waits for the same load.

        Raises AdapterUnavailable, or AdapterCorrupt, for a while from memory: see ``Failures``. A
        version that names another artifact is tried at once.
        """
        key = version.key
        if key in self._preloaded:
            await self._adopt(version)
        with self._demanding(key):
            while True:
                if (resident := self._residents.get(key)) is not None:
                    return resident.loaded
                try:
                    return await self._loaded(version)
                except _NotNow:
                    pass  # of an early load: this one takes its place

    def has_room_early(self, key: str) -> bool:
        """Whether `load_early` would find a place."""
        is_full = len(self._residents) >= self._engine.limits.max_cpu_loras > 0
        return not is_full or self._residents.spare(for_one=key) is not None

    async def load_early(self, version: AdapterVersion) -> None:
        """Load it for what waits, unless that took the place of one that is needed sooner.

        Raises as `ensure`.
        """
        if not self.holds(version.key):
            with suppress(_NotNow):
                await self._loaded(version)

    async def fetch_early(self, version: AdapterVersion) -> None:
        """Bring it to this host's disk for what waits. Raises as `ensure`."""
        try:
            await self._files.fetch(version)
        except AdapterUnavailable as error:
            self._failures.remember(version, error)
            raise

    @contextmanager
    def _demanding(self, key: str) -> Iterator[None]:
        self._demanded[key] += 1
        try:
            yield
        finally:
            self._demanded[key] -= 1
            if not self._demanded[key]:
                del self._demanded[key]

    async def _loaded(self, version: AdapterVersion) -> LoadedAdapter:
        key = version.key
        if key not in self._loading:
            if (known := self._failures.known(version)) is not None:
                raise known.with_traceback(None)
            self._loading[key] = asyncio.create_task(self._load(version), name=f"load {key}")
            self._loading[key].add_done_callback(_see)
        # Shielded: one caller's cancellation must not take the adapter from the others.
        return await asyncio.shield(self._loading[key])

    async def preload(self, modules: Iterable[LoraModule]) -> None:
        """Load the adapters of vLLM's option ``lora_modules``; ConfigurationError if one fails."""
        for module in modules:
            try:
                found = await self._files.folder(module.path)
                adapter = LoadedAdapter(
                    module.name, str(found.path), found.config.rank, files=found.files
                )
                with self._demanding(module.name):
                    await self._place(Resident(adapter))
            except (UnsoundArtifact, AdapterUnavailable) as error:
                raise ConfigurationError(f"lora_modules: {module.name}: {error}") from error
            self._preloaded[module.name] = found.sha256

    async def unload(self, key: str) -> None:
        """Free the version's place once its running requests are done, as when it is retired."""
        if resident := self._residents.remove(key):
            self._preloaded.pop(key, None)
            try:
                await self._engine.unload(key)
            finally:
                resident.release()

    def forget(self) -> None:
        """The engine was started anew and holds nothing any more."""
        for key in self._residents.keys:
            if resident := self._residents.remove(key):
                resident.release()
        self._preloaded.clear()

    def forget_failures(self, is_wanted: Callable[[str], bool]) -> None:
        """Drop the failures of versions that nobody can ask for any more, by their keys."""
        self._failures.keep(is_wanted)

    async def _adopt(self, version: AdapterVersion) -> None:
        """Take a preloaded adapter for the registered version, if its weights are the same."""
        sha256 = self._preloaded.pop(version.key)
        resident = self._residents.get(version.key)
        if resident is None:
            return
        if version.artifact is not None and version.artifact.sha256.lower() == sha256:
            template = version.prompt_template
            resident.loaded = replace(resident.loaded, prompt_template=template)
        else:
            await self.unload(version.key)

    async def _load(self, version: AdapterVersion) -> LoadedAdapter:
        began = self._clock()
        try:
            resident = await self._files.ready(version)
            await self._place(resident)
        except _NotNow:
            raise
        except AdapterUnavailable as error:
            self._failures.remember(version, error)
            self._observe(began, False)
            raise
        except BaseException:
            self._observe(began, False)
            raise
        finally:
            # In its last step: whoever asks next must not find one that is over.
            del self._loading[version.key]
        self._failures.forget(version.key)
        self._observe(began, True)
        return resident.loaded

    def _observe(self, began: float, is_loaded: bool) -> None:
        if self._observer is not None:
            self._observer.observe_adapter_load(self._clock() - began, is_loaded)

    async def _place(self, resident: Resident) -> None:
        try:
            async with self._making_room:
                while len(self._residents) >= self._engine.limits.max_cpu_loras > 0:
                    await self._make_room(resident.loaded.key)
                with self._engine_at(resident.loaded.key):
                    await self._engine.load(resident.loaded)
                await self._check_unchanged(resident.loaded)
                resident.loaded_at = self._clock()
                self._residents.add(resident)
        except BaseException:
            resident.release()
            raise

    async def _make_room(self, key: str) -> None:
        """Somebody's waiting is worth any place, and what comes early only one needed later."""
        if self._demanded[key]:
            if (spare := await self._residents.until_spare()) is None:
                return
        elif (found := self._residents.spare(for_one=key)) is None:
            raise _NotNow(key)
        else:
            spare = found
        with self._engine_at(key):
            await self.unload(spare)
        if self._observer is not None:
            self._observer.count_adapter_eviction()

    @contextmanager
    def _engine_at(self, key: str) -> Iterator[None]:
        self._at_engine = key
        try:
            yield
        finally:
            self._at_engine = None

    async def _check_unchanged(self, adapter: LoadedAdapter) -> None:
        """The engine opened the files by itself: what it read is what was verified, or is freed."""
        try:
            for state in adapter.files:
                await asyncio.to_thread(state.check_unchanged)
        except MissingArtifact as error:
            await self._engine.unload(adapter.key)
            raise AdapterUnavailable(adapter.key, str(error)) from error


def _see(load: asyncio.Task[LoadedAdapter]) -> None:
    """Its error, also if every caller has gone."""
    if not load.cancelled():
        load.exception()
