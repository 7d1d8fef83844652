"""What runs in an engine and which adapters it holds: the rules that all engines share."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from inference.engine.protocol import EngineLimits, Generation, LoadedAdapter
from schemas.errors import AdapterUnavailable, Cancelled, InternalError, RequestError
from streams.interruption import Interruption


class Running:
    """The running requests and the loaded adapters of one engine."""

    def __init__(self) -> None:
        self._requests: dict[str, Interruption] = {}
        self._adapters: dict[str, LoadedAdapter] = {}
        self._in_use: Counter[str] = Counter()
        self._drained: dict[str, asyncio.Event] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._changes: set[Interruption] = set()

    def __len__(self) -> int:
        return len(self._requests)

    @contextmanager
    def track(self, generation: Generation) -> Iterator[Interruption]:
        """Count a request as running while the block lasts.

        Raises AdapterUnavailable if its adapter is not loaded, InternalError if its id is taken.
        """
        request_id, adapter = generation.request_id, generation.adapter
        if request_id in self._requests:
            raise InternalError(f"Request {request_id} is running already.")
        if adapter is not None and adapter.key not in self._adapters:
            raise AdapterUnavailable(adapter.key, "it is not loaded in this engine.")
        request = self._requests[request_id] = Interruption()
        if adapter is not None:
            self._in_use[adapter.key] += 1
        try:
            yield request
        finally:
            del self._requests[request_id]
            if adapter is not None:
                self._release(adapter.key)

    def abort(self, request_id: str) -> None:
        """End that request, if it runs, with Cancelled."""
        if request := self._requests.get(request_id):
            request.end(Cancelled("The query was cancelled."))

    def end_all(self, reason: RequestError) -> None:
        """End every running request, and what is being loaded or unloaded, with ``reason``."""
        for running in (*self._requests.values(), *self._changes):
            running.end(reason)

    @property
    def adapters(self) -> dict[str, LoadedAdapter]:
        """What requests may name, by key."""
        return dict(self._adapters)

    @asynccontextmanager
    async def changing(self, key: str) -> AsyncIterator[Interruption]:
        """Held while ``key`` is loaded or unloaded, so that the two never overlap.

        A dead engine may never answer, so the waits for it are to be interruptible.
        """
        async with self._locks[key]:
            change = Interruption()
            self._changes.add(change)
            try:
                yield change
            finally:
                self._changes.discard(change)

    def admit(self, adapter: LoadedAdapter) -> None:
        """Let requests name the adapter from now on."""
        self._adapters[adapter.key] = adapter

    async def retire(self, key: str) -> bool:
        """Refuse ``key`` to new requests and wait for the running ones; False if not loaded."""
        if self._adapters.pop(key, None) is None:
            return False
        if self._in_use[key]:
            await self._drained.setdefault(key, asyncio.Event()).wait()
        return True

    def _release(self, key: str) -> None:
        self._in_use[key] -= 1
        if not self._in_use[key]:
            del self._in_use[key]
            if drained := self._drained.pop(key, None):
                drained.set()


def check_loadable(adapter: LoadedAdapter, limits: EngineLimits, loaded: int) -> None:
    """Raise AdapterUnavailable for what no engine of these ``limits`` can take in.

    ``loaded`` adapters are there already. None is ever pushed out to make room: vLLM would read
    it again from its folder in the midst of a batch, and die if the folder is gone.
    """
    if limits.max_cpu_loras == 0:
        raise AdapterUnavailable(adapter.key, "this engine runs without LoRA (enable_lora: false).")
    if adapter.rank > limits.max_lora_rank:
        raise AdapterUnavailable(
            adapter.key, f"its rank {adapter.rank} is above max_lora_rank {limits.max_lora_rank}."
        )
    if loaded >= limits.max_cpu_loras:
        raise AdapterUnavailable(
            adapter.key, f"{loaded} adapters are loaded, as many as max_cpu_loras allows."
        )


def check_folder(adapter: LoadedAdapter) -> None:
    """Raise AdapterUnavailable if the adapter's folder lacks its files."""
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (Path(adapter.path) / name).is_file():
            raise AdapterUnavailable(adapter.key, f"there is no {name} in {adapter.path}.")
