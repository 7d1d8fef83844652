"""Serves the records of the requests topic with an engine, and answers every one of them."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord, TopicPartition

from inference.adapters.store import AdapterStore
from inference.engine.protocol import Completion, Delta, Engine, LoadedAdapter
from inference.worker.answers import answer, check_deadline, generation
from inference.worker.chunks import ChunkSender
from schemas.codec import Codec
from schemas.errors import (
    AdapterUnavailable,
    DecodeError,
    EngineError,
    EngineUnavailable,
    RecordTooLarge,
    RequestError,
    as_request_error,
)
from schemas.records import BASE, InferenceRequest, Origin, Query, Routing
from schemas.topics import Topics
from streams.kafka.answers import error_response, response_outputs
from streams.kafka.consumer import ExactlyOnceConsumer
from streams.kafka.dead_letters import dead_letter
from streams.kafka.output import Output, event_headers
from streams.kafka.writer_schemas import WriterSchemas
from streams.registry.follow import RegistryFollower
from streams.telemetry.metrics import WorkerMetrics

log = logging.getLogger(__name__)

Record: TypeAlias = ConsumerRecord  # of bytes keys and values
Clock = Callable[[], datetime]


class Serving:
    """The consumer's handler: one task a record, each ending in `consumer.finish`."""

    consumer: ExactlyOnceConsumer

    def __init__(
        self,
        *,
        engine: Engine,
        store: AdapterStore,
        registry: RegistryFollower,
        codec: Codec,
        topics: Topics,
        schemas: WriterSchemas,
        chunks: ChunkSender,
        metrics: WorkerMetrics,
        name: str,
        max_attempts: int,
        on_engine_death: Callable[[], None],
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._store = store
        self._registry = registry
        self._codec = codec
        self._topics = topics
        self._schemas = schemas
        self._chunks = chunks
        self._metrics = metrics
        self._name = name
        self._max_attempts = max_attempts
        self._on_engine_death = on_engine_death
        self._now = now
        self._tasks: dict[tuple[TopicPartition, int], asyncio.Task[None]] = {}

    def on_record(self, record: Record) -> None:
        """Starts a task for the record."""
        place = (TopicPartition(record.topic, record.partition), record.offset)
        task = asyncio.create_task(self._serve(record))
        self._tasks[place] = task
        task.add_done_callback(lambda _: self._tasks.pop(place, None))

    def on_lost(self, partition: TopicPartition, offsets: Collection[int]) -> None:
        """Aborts what another member will do again."""
        for offset in offsets:
            task = self._tasks.get((partition, offset))
            if task is not None:
                task.cancel()

    async def _serve(self, record: Record) -> None:
        try:
            outputs = await self._outputs(record)
        except EngineUnavailable as error:
            # Left unfinished: it is served again, here after a restart or by another worker.
            log.error("%s-%d@%d: %s", record.topic, record.partition, record.offset, error)
            self._on_engine_death()
            return
        partition = TopicPartition(record.topic, record.partition)
        try:
            self.consumer.finish(partition, record.offset, outputs)
        except RecordTooLarge as error:
            log.error(
                "%s@%d: the answer does not fit a record: %s", partition, record.offset, error
            )
            response_only = self._refusal(record, _unreadable(record), error)[:1]
            self.consumer.finish(partition, record.offset, response_only)

    async def _outputs(self, record: Record) -> Sequence[Output]:
        try:
            request = await self._schemas.decode(InferenceRequest, record.value or b"")
        except DecodeError as error:
            self._metrics.count_decode_error(record.topic)
            return self._refusal(record, _unreadable(record), error)
        try:
            return await self._answer(record, request)
        except EngineUnavailable:
            raise
        except RequestError as error:
            return self._after_error(record, request, error)
        except Exception as error:
            log.exception("serving %s failed", request.origin)
            return self._after_error(record, request, as_request_error(error))

    async def _answer(self, record: Record, request: InferenceRequest) -> Sequence[Output]:
        check_deadline(request, self._now())
        adapter = await self._adapter(request)
        served_by = adapter.key if adapter else None
        label = self._metrics.request_started(served_by)
        try:
            completion = await self._generate(request, adapter, record.headers)
        finally:
            self._metrics.request_finished(label)
        base_model = str(self._engine.limits.base_model)
        response = answer(request, completion, served_by, base_model, self._now())
        outputs = response_outputs(
            self._codec, self._topics, response, request.query, self._name, record.headers
        )
        self._metrics.observe(response)
        return outputs

    async def _adapter(self, request: InferenceRequest) -> LoadedAdapter | None:
        key = request.routing.adapter
        if key is None:
            return None
        version = await self._registry.version(key, request.registry_revision)
        try:
            return await self._store.ensure(version)
        except AdapterUnavailable:
            if request.query.fallback == BASE:
                return None
            raise

    async def _generate(
        self, request: InferenceRequest, adapter: LoadedAdapter | None, headers: Any
    ) -> Completion:
        served_by = adapter.key if adapter else None
        sequence = 0
        async for part in self._engine.generate(generation(request, adapter)):
            if isinstance(part, Delta):
                await self._chunks.send(request, sequence, part.text, served_by, headers)
                sequence += 1
                continue
            if request.query.stream:
                await self._chunks.send(
                    request, sequence, "", served_by, headers, part.finish_reason
                )
            return part
        raise EngineError("The engine ended the request without an answer.")

    def _after_error(
        self, record: Record, request: InferenceRequest, error: RequestError
    ) -> Sequence[Output]:
        if error.retryable and request.attempt < self._max_attempts:
            self._metrics.count_retry(error.category)
            again = replace(request, attempt=request.attempt + 1)
            return [
                Output(
                    self._topics.requests,
                    self._codec.encode(again),
                    record.key,
                    headers=event_headers(
                        "InferenceRequest", request.query.id or "", self._name, record.headers
                    ),
                )
            ]
        return self._refusal(record, request, error)

    def _refusal(
        self, record: Record, request: InferenceRequest, error: RequestError
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
        outputs = response_outputs(
            self._codec, self._topics, response, request.query, self._name, record.headers
        )
        self._metrics.observe(response)
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
                )
            )
        return outputs


def _unreadable(record: Record) -> InferenceRequest:
    """Stands for a request that can't be read: its response names the record itself."""
    origin = Origin(record.topic, record.partition, record.offset)
    return InferenceRequest(Query(id=str(origin)), Routing(), origin)
