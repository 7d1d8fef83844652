"""Lets a version that is tried in shadow answer what others have answered already.

The user has the answer by then. A shadow runs where there is room and nothing waits, and gives
way as soon as something does; what it has no room for is dropped. Its answers go to the shadow
topic alone, beside the transactions that carry everything else.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from inference.adapters.store import AdapterStore
from inference.engine.protocol import Completion, Engine
from inference.scheduling.admission import Admission
from inference.worker.answers import answer, generation
from schemas.codec import Codec
from schemas.errors import EngineUnavailable, RequestError, as_request_error
from schemas.records import InferenceRequest, Response, Timing
from streams.kafka.answers import error_response
from streams.kafka.output import Headers, event_headers
from streams.kafka.settings import KafkaSettings
from streams.registry.reader import Registry
from streams.registry.traffic import is_among
from streams.telemetry.metrics import WorkerMetrics

log = logging.getLogger(__name__)

SHADOW: Final = "shadow"
"""The variant of an answer that nobody was given."""

_MOST_WAITING: Final = 64
_LOOK_AGAIN_SECONDS: Final = 0.05


class Shadowing:
    """The requests that a version in shadow is to answer, one after the other."""

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        *,
        engine: Engine,
        store: AdapterStore,
        admission: Admission,
        registry: Registry,
        metrics: WorkerMetrics,
        name: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._engine = engine
        self._limits = engine.limits
        self._store = store
        self._admission = admission
        self._registry = registry
        self._metrics = metrics
        self._name = name
        self._now = now
        self._producer: AIOKafkaProducer | None = None
        self._waiting: deque[tuple[str, InferenceRequest, Headers]] = deque()
        self._arrived = asyncio.Event()
        self._busy: Counter[str | None] = Counter()
        self._running: tuple[str, asyncio.Task[None]] | None = None
        #: Versions that the engine has died with: never again in this process.
        self._fatal: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        admission.listen(self._give_way)

    async def start(self) -> None:
        """Connects. Raises: KafkaError."""
        self._producer = AIOKafkaProducer(
            linger_ms=50,
            max_request_size=self._settings.max_record_bytes + 4096,
            **self._settings.client_kwargs(),
        )
        await self._producer.start()
        self._task = asyncio.create_task(self._run(), name="shadow")

    async def stop(self) -> None:
        """Drops what waits and runs, and disconnects."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._producer is not None:
            await self._producer.stop()

    @contextmanager
    def beside(self, adapter: str | None) -> Iterator[None]:
        """While a request of that adapter is in the engine; None is the base model."""
        self._busy[adapter] += 1
        if self._running and not self._fits(self._running[0]):
            self._give_way()
        try:
            yield
        finally:
            self._busy[adapter] -= 1
            if not self._busy[adapter]:
                del self._busy[adapter]

    def offer(self, request: InferenceRequest, headers: Headers) -> None:
        """Takes a request that is answered, if it is one for a version in shadow."""
        key = self._shadow_of(request)
        if key is None:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self._metrics.count_shadow("dropped")
        self._waiting.append((key, request, headers))
        self._arrived.set()

    def _shadow_of(self, request: InferenceRequest) -> str | None:
        routing = request.routing
        if routing.variant is None or routing.adapter is None:
            return None
        version = self._registry.get(routing.adapter)
        trial = self._registry.traffic(version.family).canary if version else None
        if version is None or trial is None or not trial.shadow or trial.adapter in self._fatal:
            return None
        session = request.query.session or request.query.id or ""
        return trial.adapter if is_among(version.family, session, trial.share) else None

    async def _run(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            key, request, headers = self._waiting.popleft()
            # Room shows itself in several places, and nobody waits for a shadow.
            while not self._has_room(key) and self._shadow_of(request) == key:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            if self._shadow_of(request) != key:
                self._metrics.count_shadow("dropped")
                continue
            await self._run_one(key, self._answer(key, request, headers))

    async def _run_one(self, key: str, answering: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(answering)
        self._running = key, task
        try:
            await asyncio.wait({task})
        finally:
            self._running = None
            task.cancel()
        if task.cancelled():
            self._metrics.count_shadow("dropped")
        elif error := task.exception():
            log.error("a request in shadow failed", exc_info=error)

    def _give_way(self) -> None:
        if self._running:
            self._running[1].cancel()

    def _fits(self, key: str) -> bool:
        """Whether no adapter has to leave the engine's batch for it."""
        adapters = {adapter for adapter in self._busy if adapter} | {key}
        return len(adapters) <= self._limits.max_loras

    def _has_room(self, key: str) -> bool:
        resident = self._store.resident
        is_held = key in resident or len(resident) < self._limits.max_cpu_loras
        return is_held and self._admission.is_roomy and self._fits(key)

    async def _answer(self, key: str, request: InferenceRequest, headers: Headers) -> None:
        routing = replace(request.routing, variant=SHADOW)
        shadowed = replace(request, routing=routing)
        try:
            response = await self._response(key, shadowed)
        except RequestError as error:
            response = self._failure(key, shadowed, error)
        except Exception as error:
            log.exception("%s in shadow failed on %s", key, request.origin)
            response = self._failure(key, shadowed, as_request_error(error))
        await self._send(response, headers)
        self._metrics.count_shadow("ok" if response.status == "ok" else "error")

    async def _response(self, key: str, request: InferenceRequest) -> Response:
        version = self._registry.get(key)
        if version is None:
            raise asyncio.CancelledError
        query = replace(request.query, priority=0, stream=False)
        try:
            async with self._store.using(version) as adapter:
                asked = generation(replace(request, query=query), adapter)
                asked = replace(asked, request_id=f"{SHADOW}-{asked.request_id}")
                async for part in self._engine.generate(asked):
                    if isinstance(part, Completion):
                        base_model = str(self._limits.base_model)
                        made = answer(request, part, key, base_model, self._now())
                        # It began when there was room: its time from the query on says nothing.
                        return replace(made, timing=replace(made.timing, total_ms=None))
        except EngineUnavailable:
            self._fatal.add(key)
            raise
        raise asyncio.CancelledError

    def _failure(self, key: str, request: InferenceRequest, error: RequestError) -> Response:
        made = error_response(
            error,
            request.query.id or str(request.origin),
            request.origin,
            now=self._now(),
            routing=request.routing,
            attempt=request.attempt,
        )
        return replace(made, adapter=key, timing=Timing())

    async def _send(self, response: Response, headers: Headers) -> None:
        assert self._producer is not None, "start() comes first"
        sent = event_headers("Response", response.query_id, self._name, headers)
        try:
            await self._producer.send(
                self._settings.topics.shadow,
                self._codec.encode(response),
                key=response.query_id.encode(),
                headers=list(sent),
            )
        except KafkaError as error:
            log.warning("an answer in shadow was not sent: %r", error)
