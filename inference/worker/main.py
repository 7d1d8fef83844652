"""The worker process: where everything it consists of is built, started and stopped."""

import asyncio
import logging
import platform
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from aiokafka import TopicPartition

from inference.adapters.fetch import Fetcher
from inference.adapters.files import AdapterFiles
from inference.adapters.prefetch import Prefetcher
from inference.adapters.shelf import Shelf
from inference.adapters.store import AdapterStore
from inference.engine.config import EngineSettings, load_settings
from inference.engine.factory import make_engine
from inference.scheduling.admission import Admission
from inference.worker.chunks import ChunkSender
from inference.worker.heartbeat import Heartbeat
from inference.worker.journal import Journal
from inference.worker.serving import Serving
from inference.worker.settings import WorkerSettings
from inference.worker.shadow import Shadowing
from inference.worker.supervision import Supervision
from schemas.records import WorkerState
from streams.kafka.access import await_rights
from streams.kafka.acls import topic_names, worker_acls
from streams.kafka.admin import await_cluster
from streams.kafka.cancels import Cancellations
from streams.kafka.consumer import ConsumerOptions, ExactlyOnceConsumer
from streams.kafka.owner import Outcome
from streams.kafka.writer_schemas import WriterSchemas, open_codec
from streams.parts import started
from streams.process import Process
from streams.registry.artifact import BaseModules, base_modules
from streams.registry.follow import RegistryFollower
from streams.registry.reader import Registry
from streams.telemetry.metrics import WorkerMetrics

log = logging.getLogger(__name__)

_GAUGE_SECONDS = 1.0


def run() -> int:
    """Runs a worker until it is told to stop; the exit status."""
    settings = WorkerSettings()
    return WorkerProcess(settings, load_settings(settings.vllm_config)).run()


class WorkerProcess(Process):
    """One worker: its parts, and the order in which they start and stop."""

    def __init__(self, settings: WorkerSettings, engine: EngineSettings) -> None:
        super().__init__("worker", settings)
        self._settings = settings
        self._engine = make_engine(settings.engine, engine)
        self._engine_settings = engine
        self._metrics = WorkerMetrics(self.prometheus)
        self._shelf = Shelf(
            settings.adapter_store,
            settings.adapter_store_bytes,
            self._metrics.count_disk_eviction,
        )
        self._started_at = datetime.now(UTC)

    def engine_metrics(self) -> bytes:
        """The engine's own exposition."""
        return self._engine.metrics_text()

    async def serve(self) -> None:
        """Answers requests until told to stop, or until the engine can't be started again."""
        try:
            await self._serve()
        finally:
            await self._engine.stop()

    async def _serve(self) -> None:
        settings = self._settings
        journal = Journal(settings.journal)
        acls = worker_acls(settings.topics, settings.worker_group)
        await await_cluster(settings, topic_names(acls), self.wait_for)
        await await_rights(settings, acls, self.wait_for)
        self.wait_for(f"starting the engine {settings.engine}")
        await self._engine.start()
        self._limits = self._engine.limits
        self.wait_for("reading the registry")
        codec = await open_codec(settings)
        async with AsyncExitStack() as parts:
            schemas = await started(WriterSchemas(settings, codec), parts)
            follower = RegistryFollower(settings, codec, with_examples=False)
            # At once: responses of a version that isn't known yet count under another name.
            follower.on_change(lambda: self._know_adapters(follower.registry))
            await started(follower, parts)
            chunks = await started(ChunkSender(settings, codec), parts)
            admission = settings.admission(self._limits.max_num_seqs)
            files = await self._open_files()
            store = await self._open_store(files, admission)
            prefetcher = self._prefetch(store, files, admission, follower.registry)
            cancellations = Cancellations(settings, codec)
            shadowing = Shadowing(
                settings,
                codec,
                engine=self._engine,
                store=store,
                admission=admission,
                registry=follower.registry,
                metrics=self._metrics,
                name=self.name,
            )
            await started(shadowing, parts)
            serving = Serving(
                engine=self._engine,
                store=store,
                prefetcher=prefetcher,
                admission=admission,
                registry=follower,
                cancellations=cancellations,
                codec=codec,
                topics=settings.topics,
                schemas=schemas,
                chunks=chunks,
                journal=journal,
                shadowing=shadowing,
                metrics=self._metrics,
                name=self.name,
                max_attempts=settings.max_attempts,
                tracing=self.tracing,
            )
            cancellations.listen(serving.cancel)
            await started(cancellations, parts)
            supervision = self._supervise(admission, store, serving, prefetcher)
            consumer = self._consume(serving)
            heartbeat = Heartbeat(
                settings,
                codec,
                lambda: self._state(consumer, store, supervision),
                settings.heartbeat_seconds,
            )
            parts.push_async_callback(heartbeat.stop)
            gauges = self._update_gauges(consumer, store, follower, supervision, admission)
            await self._until_stopped(
                consumer, serving, supervision, [heartbeat.run(), gauges, prefetcher.run()]
            )

    async def _open_files(self) -> AdapterFiles:
        settings, engine = self._settings, self._engine_settings
        fetcher = Fetcher(
            self._shelf,
            settings,
            most_at_once=settings.adapter_fetches,
            on_fetched=self._metrics.observe_adapter_fetch,
        )
        return AdapterFiles(
            lambda: self._limits,
            base=await self._base_modules(),
            roots=settings.adapter_roots,
            fetcher=fetcher,
            verify_files=(settings.engine, engine.http_adapters) != ("http", "served"),
        )

    async def _open_store(self, files: AdapterFiles, admission: Admission) -> AdapterStore:
        store = AdapterStore(
            self._engine,
            files,
            needs=lambda: {key: turn for turn, key in enumerate(admission.upcoming())},
            observer=self._metrics,
        )
        await store.preload(self._engine_settings.lora_modules)
        return store

    def _prefetch(
        self,
        store: AdapterStore,
        files: AdapterFiles,
        admission: Admission,
        registry: Registry,
    ) -> Prefetcher:
        settings = self._settings
        return Prefetcher(
            store,
            files,
            upcoming=admission.upcoming,
            version=registry.get,
            places=self._limits.max_cpu_loras,
            most_at_once=settings.adapter_fetches,
            # Beside what is needed first there is room for what comes next.
            max_bytes=settings.adapter_store_bytes // 2,
        )

    def _supervise(
        self,
        admission: Admission,
        store: AdapterStore,
        serving: Serving,
        prefetcher: Prefetcher,
    ) -> Supervision:
        supervision = Supervision(
            self._engine,
            admission,
            is_ours=self._settings.engine != "http",
            stall_seconds=self._settings.stall_seconds,
            end_running=serving.end_running,
            prepare=lambda: self._prepare_again(store, prefetcher),
            is_loading=lambda: store.at_engine is not None,
        )
        serving.on_engine_death = supervision.look_now
        serving.on_fault = self.fail
        return supervision

    def _consume(self, serving: Serving) -> ExactlyOnceConsumer:
        settings = self._settings
        topics = settings.topics
        consumer = ExactlyOnceConsumer(
            settings,
            settings.worker_group,
            topics.requests,
            serving,
            ConsumerOptions(
                max_in_flight=settings.max_in_flight or max(4096, 16 * self._limits.max_num_seqs),
                linger_seconds=settings.flush_linger,
                session_timeout=settings.session_timeout,
                instance_id=settings.instance,
                writes_to=(
                    topics.responses,
                    topics.replies,
                    topics.requests,
                    topics.dead_letters,
                ),
            ),
            self._on_transaction,
            self._metrics.count_deleted,
        )
        serving.consumer = consumer
        return consumer

    async def _until_stopped(
        self,
        consumer: ExactlyOnceConsumer,
        serving: Serving,
        supervision: Supervision,
        others: Sequence[Coroutine[Any, Any, None]],
    ) -> None:
        consuming = asyncio.create_task(consumer.run())
        supervising = asyncio.create_task(supervision.run())
        stopping = asyncio.create_task(self.is_stopping.wait())
        endless = [*map(asyncio.create_task, others)]
        background = [supervising, stopping, *endless]
        try:
            done, _ = await asyncio.wait(
                {consuming, *background}, return_when=asyncio.FIRST_COMPLETED
            )
            if supervising.done():
                self.fail(f"the engine can't be started: {supervising.exception()}")
            for task in done.intersection(endless):
                self.fail(f"a background task ended: {task.exception()!r}")
            consumer.stop_fetching()
            serving.hand_back_waiting()
            # What a dead engine was at is left to whoever is assigned its partitions next.
            patience = self._settings.shutdown_seconds if await self._engine.healthy() else 0.0
            await consumer.stop(patience)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            consuming.cancel()
            with suppress(asyncio.CancelledError):
                await consuming

    async def _prepare_again(self, store: AdapterStore, prefetcher: Prefetcher) -> None:
        """What a started engine is given, as the first one was."""
        self._metrics.count_engine_restart()
        store.forget()
        await store.preload(self._engine_settings.lora_modules)
        prefetcher.look()

    async def _base_modules(self) -> BaseModules | None:
        """What adapters may change in the base model; empty where its files aren't here."""
        model = self._engine_settings.model
        if self._settings.engine != "vllm" or model is None:
            return None
        return await asyncio.to_thread(base_modules, model)

    def _on_transaction(self, records: int, seconds: float, outcome: Outcome) -> None:
        self._metrics.observe_transaction(outcome, seconds)
        self._metrics.observe_flush(records)

    def _state(
        self, consumer: ExactlyOnceConsumer, store: AdapterStore, supervision: Supervision
    ) -> WorkerState:
        limits = self._limits
        status = "restarting" if supervision.not_ready else "ready"
        return WorkerState(
            worker_id=self.name,
            base_model=limits.base_model,
            engine=self._settings.engine,
            status="stopping" if self.is_stopping.is_set() else status,
            max_model_len=limits.max_model_len,
            max_num_seqs=limits.max_num_seqs,
            max_loras=limits.max_loras,
            max_lora_rank=limits.max_lora_rank,
            resident_adapters=store.resident,
            failed_adapters=store.failures,
            in_flight=consumer.in_flight,
            host=platform.node(),
            started_at=self._started_at,
            heartbeat_at=datetime.now(UTC),
        )

    def _know_adapters(self, registry: Registry) -> None:
        self._metrics.know_adapters(registry.keys(), registry.revision)

    async def _update_gauges(
        self,
        consumer: ExactlyOnceConsumer,
        store: AdapterStore,
        follower: RegistryFollower,
        supervision: Supervision,
        admission: Admission,
    ) -> None:
        known: set[TopicPartition] = set()
        while True:
            self.report(supervision.not_ready or consumer.not_ready)
            lags, spans = consumer.lag(), consumer.spans()
            for partition in known - spans.keys():
                self._metrics.forget_partition(partition.topic, partition.partition)
            known = set(spans)
            for partition, span in spans.items():
                self._metrics.set_window_span(partition.topic, partition.partition, span)
            for partition, records in lags.items():
                self._metrics.set_lag(partition.topic, partition.partition, records)
            self._metrics.set_waiting(admission.waiting)
            self._metrics.set_resident_adapters(len(store.resident))
            self._metrics.set_store_bytes(await asyncio.to_thread(self._shelf.size_bytes))
            store.forget_failures(follower.registry.is_servable)
            await asyncio.sleep(_GAUGE_SECONDS if self.is_ready else 0.1)
