"""Serves the records of the requests topic with an engine, and answers every one of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, perf_counter
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord, TopicPartition

from inference.adapters.prefetch import Prefetcher
from inference.adapters.store import AdapterStore
from inference.engine.protocol import Completion, Delta, Engine, LoadedAdapter
from inference.scheduling.admission import Admission
from inference.worker.answers import answer, check_deadline, generation
from inference.worker.chunks import ChunkSender
from inference.worker.journal import Journal
from inference.worker.measuring import measured
from inference.worker.retries import after_deaths, again, back_off, check_deaths
from inference.worker.shadow import Shadowing
from inference.worker.trace_steps import trace_generation
from schemas.codec import Codec
from schemas.errors import (
    AdapterUnavailable,
    Cancelled,
    DeadlineExceeded,
    EngineCrashed,
    EngineError,
    EngineUnavailable,
    LorelayError,
    RecordTooLarge,
    RequestError,
    as_request_error,
)
from schemas.records import (
    BASE,
    PREVIOUS,
    AdapterVersion,
    Cancel,
    InferenceRequest,
    Origin,
    Query,
    Response,
    Routing,
)
from schemas.topics import Topics
from streams.interruption import Interruption
from streams.kafka.answers import error_response, response_outputs
from streams.kafka.cancels import Cancellations, takes_back
from streams.kafka.consumer import ExactlyOnceConsumer
from streams.kafka.dead_letters.letter import dead_letter
from streams.kafka.output import Output, event_headers
from streams.kafka.writer_schemas import WriterSchemas
from streams.registry.follow import RegistryFollower
from streams.telemetry.metrics import WorkerMetrics
from streams.telemetry.tracing import UNTOLD, NoTracing, Trace, Tracing

log = logging.getLogger(__name__)

Record: TypeAlias = ConsumerRecord  # of bytes keys and values
Clock = Callable[[], datetime]

#: How often a request that met no engine is put in line again before that counts as an attempt.
_MOST_TRIES = 3


@dataclass(eq=False, slots=True)
class _Work:
    """A record that is being worked on; `is_running` in its turn, `loads` while it gave it back.

    `came_at` is by the store's clock; `load_ms` is for what came before its adapter was loaded.
    """

    task: "asyncio.Task[None]" = field(init=False)
    interruption: Interruption = field(default_factory=Interruption)
    trace: Trace = UNTOLD
    began_at: float = field(default_factory=perf_counter)
    came_at: float = field(default_factory=monotonic)
    query: Query | None = None
    is_running: bool = False
    overtakes: bool = False
    loads: Collection[str] = ()
    has_streamed: bool = False
    load_ms: float | None = None


class Serving:
    """The consumer's handler: one task a record, each ending in `consumer.finish`."""

    consumer: ExactlyOnceConsumer
    on_engine_death: Callable[[], None]
    on_fault: Callable[[str], None]

    def __init__(
        self,
        *,
        engine: Engine,
        store: AdapterStore,
        prefetcher: Prefetcher,
        admission: Admission,
        registry: RegistryFollower,
        cancellations: Cancellations,
        codec: Codec,
        topics: Topics,
        schemas: WriterSchemas,
        chunks: ChunkSender,
        journal: Journal,
        shadowing: Shadowing,
        metrics: WorkerMetrics,
        name: str,
        max_attempts: int,
        tracing: Tracing | None = None,
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._store = store
        self._prefetcher = prefetcher
        self._admission = admission
        self._registry = registry
        self._cancellations = cancellations
        self._codec = codec
        self._topics = topics
        self._schemas = schemas
        self._chunks = chunks
        self._journal = journal
        self._shadowing = shadowing
        self._metrics = metrics
        self._name = name
        self._max_attempts = max_attempts
        self._tracing = tracing or NoTracing()
        self._now = now
        self._works: dict[tuple[TopicPartition, int], _Work] = {}
        # A suspect runs alone, but its adapter is loaded beside others: never beside another one.
        self._one_suspect = asyncio.Lock()

    def on_record(self, record: Record) -> None:
        """Starts a task for the record."""
        place = (TopicPartition(record.topic, record.partition), record.offset)
        work = self._works[place] = _Work()
        work.trace = self._tracing.begin(
            record.topic, record.partition, record.offset, record.headers, work.began_at
        )
        work.task = asyncio.create_task(self._serve(record, place, work))
        work.task.add_done_callback(lambda task: self._ended(place, work))

    def on_lost(self, partition: TopicPartition, offsets: Collection[int]) -> None:
        """Aborts what another member will do again."""
        for offset in offsets:
            if work := self._works.get((partition, offset)):
                work.task.cancel()

    def cancel(self, cancel: Cancel, error: Cancelled) -> None:
        """Ends its query with the error, whether that waits or runs."""
        for work in tuple(self._works.values()):
            if work.query is not None and takes_back(cancel, work.query):
                work.interruption.end(error)

    def end_running(self, error: RequestError) -> None:
        """Ends all that the engine is at; what waits goes on waiting."""
        for work in tuple(self._works.values()):
            if work.is_running or self._store.at_engine in work.loads:
                work.interruption.end(error)

    def hand_back_waiting(self) -> None:
        """Leaves what has no turn yet to whoever is assigned its partition next."""
        for place, work in tuple(self._works.items()):
            if not work.is_running:
                work.task.cancel()
                self.consumer.hand_back(*place)

    def _ended(self, place: tuple[TopicPartition, int], work: _Work) -> None:
        # After a rebalance the same record may be in work again.
        if self._works.get(place) is work:
            del self._works[place]
        if work.task.cancelled():
            work.trace.fail("lost")
            work.trace.end()
        elif (error := work.task.exception()) is not None:
            # Whatever it was, the record must not wait here for ever: others shall have it.
            log.critical("%s@%d was not answered", *place, exc_info=error)
            self.on_fault(f"a request could not be answered: {error!r}")

    async def _serve(self, record: Record, place: tuple[TopicPartition, int], work: _Work) -> None:
        request, outputs = await self._outputs(record, work)
        try:
            self.consumer.finish(*place, outputs)
        except RecordTooLarge as error:
            log.error("%s@%d: the answer does not fit a record: %s", *place, error)
            refusal = self._refusal(record, request, error, work.trace)
            self.consumer.finish_with_what_fits(*place, refusal)

    async def _outputs(
        self, record: Record, work: _Work
    ) -> tuple[InferenceRequest, Sequence[Output]]:
        """The request, as far as it can be read, and what it ends with."""
        try:
            request = await self._schemas.decode(InferenceRequest, record.value or b"")
        except LorelayError as error:
            self._metrics.count_decode_error(record.topic)
            unreadable = _unreadable(record)
            refusal = self._refusal(record, unreadable, as_request_error(error), work.trace)
            return unreadable, refusal
        request = after_deaths(request, self._journal.deaths(record))
        return request, await self._ending(record, request, work)

    async def _ending(
        self, record: Record, request: InferenceRequest, work: _Work
    ) -> Sequence[Output]:
        work.query = request.query
        deadline = self._call_at_deadline(request, work)
        try:
            return await self._answer(record, request, work)
        except RequestError as error:
            return self._after_error(record, request, error, work.trace)
        except Exception as error:
            log.exception("serving %s failed", request.origin)
            return self._after_error(record, request, as_request_error(error), work.trace)
        finally:
            if deadline is not None:
                deadline.cancel()

    def _call_at_deadline(
        self, request: InferenceRequest, work: _Work
    ) -> asyncio.TimerHandle | None:
        deadline = request.query.deadline
        if deadline is None:
            return None
        seconds = (deadline - self._now()).total_seconds()
        error = DeadlineExceeded("The deadline passed before the answer was there.")
        return asyncio.get_running_loop().call_later(seconds, work.interruption.end, error)

    async def _answer(
        self, record: Record, request: InferenceRequest, work: _Work
    ) -> Sequence[Output]:
        self._cancellations.check(request.query)
        check_deadline(request, self._now())
        check_deaths(self._journal.deaths(record))
        with work.interruption.interruptible():
            if request.not_before is not None:
                await asyncio.sleep((request.not_before - self._now()).total_seconds())
            completion, adapter = await self._in_its_turn(record, request, work)
        base_model = str(self._engine.limits.base_model)
        response = answer(request, completion, adapter, base_model, self._now(), work.load_ms)
        outputs = self._response(record, request, response, work.trace)
        self._shadowing.offer(request, record.headers)
        return outputs

    async def _in_its_turn(
        self, record: Record, request: InferenceRequest, work: _Work
    ) -> tuple[Completion, str | None]:
        """The answer and the key of the adapter that gave it."""
        tries = 0
        while True:
            try:
                async with self._one_suspect if request.crashes else nullcontext():
                    return await self._complete(record, request, work)
            except EngineUnavailable as error:
                self.on_engine_death()
                tries += 1
                if isinstance(error, EngineCrashed) or work.has_streamed or tries > _MOST_TRIES:
                    raise
            # The request never reached the engine: it waits, as all do, until that is back.
            await asyncio.sleep(back_off(tries).total_seconds())

    async def _complete(
        self, record: Record, request: InferenceRequest, work: _Work
    ) -> tuple[Completion, str | None]:
        candidates = await self._candidates(request)
        if candidates:
            self._prefetcher.wants(candidates[0].key)
        with ExitStack() as cold:
            async with self._turn(request, work):
                if not candidates or self._store.is_ready(candidates[0]):
                    with self._journal.running(record):
                        async with self._adapter(request, candidates) as adapter:
                            return await self._run(record, request, adapter, work)
                # A place in the engine is not for waiting: it is taken again once all is there,
                # and what waits for the same adapter takes none meanwhile.
                cold.enter_context(self._admission.holding(candidates[0].key))
            self._metrics.count_cold_request(candidates[0].key)
            work.loads = {candidate.key for candidate in candidates}
            cold.callback(setattr, work, "loads", ())
            with self._journal.running(record):
                async with self._adapter(request, candidates) as adapter:
                    cold.close()
                    async with self._turn(request, work, has_waited=True):
                        if adapter is not None and adapter.key not in self._store.resident:
                            raise EngineUnavailable("The engine was started anew meanwhile.")
                        return await self._run(record, request, adapter, work)

    @asynccontextmanager
    async def _turn(
        self, request: InferenceRequest, work: _Work, *, has_waited: bool = False
    ) -> AsyncIterator[None]:
        async with self._admission.turn(request, has_waited=has_waited) as work.overtakes:
            work.is_running = True
            if not has_waited:
                work.trace.step("queue", work.began_at)
            try:
                yield
            finally:
                work.is_running = False

    async def _run(
        self,
        record: Record,
        request: InferenceRequest,
        adapter: LoadedAdapter | None,
        work: _Work,
    ) -> tuple[Completion, str | None]:
        served_by = adapter.key if adapter else None
        work.load_ms = self._load_ms(served_by, work)
        base_model = str(self._engine.limits.base_model)
        labels = self._metrics.engine.labels(
            request.query, request.routing.adapter, served_by, base_model
        )
        label = self._metrics.request_started(served_by)
        try:
            with (
                self._shadowing.beside(served_by),
                measured(self._metrics.engine, labels, work.interruption) as answered,
            ):
                completion = await self._generate(request, adapter, record.headers, work)
                answered(completion)
            return completion, served_by
        finally:
            self._metrics.request_finished(label)

    def _load_ms(self, served_by: str | None, work: _Work) -> float | None:
        """How long it has waited for the adapter to be loaded, whoever had that done."""
        loaded_at = self._store.loaded_at(served_by) if served_by else None
        if loaded_at is None or loaded_at <= work.came_at:
            return None
        return 1000.0 * (loaded_at - work.came_at)

    async def _candidates(self, request: InferenceRequest) -> Sequence[AdapterVersion]:
        """The versions that may answer, the wanted one first; none for the base model.

        Raises: AdapterUnavailable, UnknownAdapter.
        """
        key = request.routing.adapter
        if key is None:
            return ()
        version = await self._registry.version(key, request.registry_revision)
        older = self._registry.registry.previous(version)
        return (version, *(older if request.query.fallback == PREVIOUS else ()))

    @asynccontextmanager
    async def _adapter(
        self, request: InferenceRequest, candidates: Sequence[AdapterVersion]
    ) -> AsyncIterator[LoadedAdapter | None]:
        """The first that can be loaded, and stays loaded until the end; None: the base model.

        Raises: AdapterUnavailable.
        """
        async with AsyncExitStack() as held:
            yield await self._first_servable(request, candidates, held)

    async def _first_servable(
        self, request: InferenceRequest, candidates: Sequence[AdapterVersion], held: AsyncExitStack
    ) -> LoadedAdapter | None:
        problem: AdapterUnavailable | None = None
        for candidate in candidates:
            try:
                return await held.enter_async_context(self._store.using(candidate))
            except AdapterUnavailable as error:
                problem = problem or error
        if problem is None or request.query.fallback == BASE:
            return None
        raise problem

    async def _generate(
        self, request: InferenceRequest, adapter: LoadedAdapter | None, headers: Any, work: _Work
    ) -> Completion:
        served_by = adapter.key if adapter else None
        sequence, began_at = 0, perf_counter()
        asked = generation(request, adapter, overtakes=work.overtakes)
        async for part in self._engine.generate(asked):
            if isinstance(part, Delta):
                work.has_streamed = True
                await self._chunks.send(request, sequence, part.text, served_by, headers)
                sequence += 1
                continue
            if request.query.stream:
                await self._chunks.send(
                    request, sequence, "", served_by, headers, part.finish_reason
                )
            trace_generation(work.trace, began_at, request, part, served_by, self._engine.limits)
            return part
        raise EngineError("The engine ended the request without an answer.")

    def _response(
        self, record: Record, request: InferenceRequest, response: Response, trace: Trace
    ) -> list[Output]:
        outputs = response_outputs(
            self._codec,
            self._topics,
            response,
            request.query,
            self._name,
            trace.hand_on(self._topics.responses, record.headers),
            trace.end,
        )
        self._metrics.observe(response)
        return outputs

    def _after_error(
        self, record: Record, request: InferenceRequest, error: RequestError, trace: Trace
    ) -> Sequence[Output]:
        retry = again(request, error, max_attempts=self._max_attempts, now=self._now())
        if retry is not None:
            self._metrics.count_retry(error.category)
            trace.fail(error.category)
            headers = event_headers(
                "InferenceRequest",
                request.query.id or "",
                self._name,
                trace.hand_on(self._topics.requests, record.headers),
            )
            value = self._codec.encode(retry)
            output = Output(
                self._topics.requests,
                value,
                record.key,
                # The adapter is here.
                record.partition,
                headers,
                on_committed=trace.end,
            )
            return [output]
        return self._refusal(record, request, error, trace)

    def _refusal(
        self, record: Record, request: InferenceRequest, error: RequestError, trace: Trace
    ) -> list[Output]:
        response = error_response(
            error,
            request.query.id or str(request.origin),
            request.origin,
            now=self._now(),
            routing=request.routing,
            attempt=request.attempt,
            created_at=request.query.created_at,
        )
        trace.fail(error.category)
        outputs = self._response(record, request, response, trace)
        if error.dead_letter:
            self._metrics.count_dead_letter(record.topic, error.category)
            outputs.append(
                dead_letter(
                    self._topics.dead_letters,
                    (record.topic, record.partition, record.offset),
                    record.key,
                    record.value,
                    record.headers,
                    error,
                    "worker",
                    response,
                )
            )
        return outputs


def _unreadable(record: Record) -> InferenceRequest:
    """Stands for a request that can't be read: its response names the record itself."""
    origin = Origin(record.topic, record.partition, record.offset)
    return InferenceRequest(Query(id=str(origin)), Routing(), origin)
