"""The router process: where everything it consists of is built, started and stopped."""

import asyncio
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from schemas.codec import Codec
from streams.garbage import spare_what_is_there
from streams.kafka.access import await_rights
from streams.kafka.acls import router_acls, topic_names
from streams.kafka.admin import await_cluster
from streams.kafka.cancels import Cancellations
from streams.kafka.limits import SizeLimits
from streams.kafka.owner import Outcome
from streams.kafka.writer_schemas import WriterSchemas, open_codec
from streams.parts import started
from streams.process import Process
from streams.registry.follow import RegistryFollower
from streams.router.affinity import PartitionChoice
from streams.router.agent import add_routing_agent
from streams.router.batching import AT_WORK, MicroBatcher
from streams.router.faust_app import RouterApp, make_app
from streams.router.figures import MetricsAgent
from streams.router.inspection import Inspection
from streams.router.judge import Judge
from streams.router.knowledge import Knowledge
from streams.router.observation import Observation
from streams.router.partitions import OwnedPartitions
from streams.router.router import Router
from streams.router.settings import RouterSettings
from streams.router.shadow import Shadow
from streams.selection.drift import DriftWatch
from streams.selection.encoder import Encoder
from streams.selection.encoder_cache import EncoderCache
from streams.selection.encoder_process import EncoderProcess
from streams.selection.selector import Selector, load_what_fitting_needs
from streams.telemetry.metrics import RouterMetrics

log = logging.getLogger(__name__)

_GAUGE_SECONDS = 1.0
_SWITCH_SECONDS = 0.0005

Loaded = TypeVar("Loaded")


def run() -> int:
    """Runs a router until it is told to stop; the exit status."""
    # A thread that learns holds the interpreter for whole slices. With the encoder in a thread,
    # shorter ones made 99 % of the loop's waits 1 ms instead of 3-7; not measured since it left.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # A second thread of BLAS waits in busy loops: 5.3 of the 10 CPU seconds that a router took for
    # 20,000 queries.
    threadpool_limits(1)
    return RouterProcess(RouterSettings()).run()


class RouterProcess(Process):
    """One router: its parts, and the order in which they start and stop."""

    def __init__(self, settings: RouterSettings) -> None:
        super().__init__("router", settings)
        self._settings = settings
        self._metrics = RouterMetrics(self.prometheus)
        self._executor = ThreadPoolExecutor(AT_WORK, thread_name_prefix="selection")

    async def serve(self) -> None:
        """Routes until told to stop."""
        settings = self._settings
        topics = settings.topics
        acls = router_acls(topics, settings.router_group)
        loading = self._in_thread(
            lambda: EncoderProcess(settings.encoder, threads=settings.encoder_threads)
        )
        warming = self._in_thread(load_what_fitting_needs)
        counts = await await_cluster(settings, topic_names(acls), self.wait_for)
        await await_rights(settings, acls, self.wait_for)
        self.wait_for(f"loading the encoder {settings.encoder}")
        encoder = await loading
        async with AsyncExitStack() as parts:
            parts.push_async_callback(asyncio.to_thread, encoder.close)
            await warming
            selector = await self._in_thread(lambda: Selector(encoder, settings.false_reject))
            self.wait_for("reading the registry")
            codec = await open_codec(settings)
            await self._route(selector, codec, counts[topics.requests], parts)

    def _in_thread(self, load: Callable[[], Loaded]) -> asyncio.Future[Loaded]:
        return asyncio.get_running_loop().run_in_executor(self._executor, load)

    async def _route(
        self, selector: Selector, codec: Codec, request_partitions: int, parts: AsyncExitStack
    ) -> None:
        settings = self._settings
        topics = settings.topics
        schemas = await started(WriterSchemas(settings, codec), parts)
        follower = RegistryFollower(settings, codec)
        cancellations = Cancellations(settings, codec)
        knowledge = Knowledge(
            selector, follower.registry, self._executor, self._remembering(selector.encoder)
        )
        shadow = self._shadow(knowledge)
        drift = DriftWatch(settings.drift_window)
        observation = Observation(knowledge, self._metrics.selection, drift, shadow)
        follower.on_change(lambda: self._on_registry_change(follower, knowledge))
        await started(follower, parts)
        await started(cancellations, parts)
        await knowledge.refresh(self.wait_for)
        await knowledge.warm_up()
        await asyncio.to_thread(spare_what_is_there)
        knowledge.on_learnt(lambda _: spare_what_is_there())
        if shadow is not None:
            await started(shadow, parts)
        limits = SizeLimits(settings.max_record_bytes)
        router = Router(
            codec=codec,
            topics=topics,
            schemas=schemas,
            registry=follower.registry,
            knowledge=knowledge,
            observation=observation,
            cancellations=cancellations,
            partitions=PartitionChoice(request_partitions),
            limits=limits,
            metrics=self._metrics,
            executor=self._executor,
            name=self.name,
            tracing=self.tracing,
        )
        app = make_app(settings)
        partitions = OwnedPartitions(
            app, settings, topics.queries, limits, self._on_transaction, self._metrics.count_deleted
        )
        batcher = MicroBatcher(
            partitions,
            router.work,
            max_batch=settings.router_batch,
            max_pending=settings.router_pending,
        )
        add_routing_agent(app, topics.queries, batcher)
        agent = MetricsAgent(settings, codec, schemas, self._metrics)
        inspection = Inspection(settings, schemas, self._metrics)
        judge = Judge(
            settings,
            codec,
            follower.registry,
            lambda: partitions.has_first,
            self._metrics.canary,
            self.name,
        )
        background = [
            asyncio.create_task(work)
            for work in (
                batcher.run(),
                knowledge.follow(),
                agent.run(),
                inspection.run(),
                judge.run(),
                self._update_gauges(partitions, batcher),
            )
        ]
        try:
            await app.start()
            await self._until_stopped(app, background)
        finally:
            await self._shut_down(app, partitions, batcher, background)

    def _remembering(self, encoder: Encoder) -> Encoder:
        entries = self._settings.encoder_cache
        return EncoderCache(encoder, entries, self._metrics.count_texts) if entries else encoder

    def _shadow(self, knowledge: Knowledge) -> Shadow | None:
        settings = self._settings
        if settings.shadow_encoder is None and settings.shadow_false_reject is None:
            return None
        name = settings.shadow_encoder or settings.encoder
        false_reject = settings.shadow_false_reject or settings.false_reject

        def build() -> Selector:
            # Of its own, whichever it is: queries may not wait for its batches.
            return Selector(EncoderProcess(name), false_reject)

        return Shadow(build, knowledge, self._metrics.selection)

    def _on_transaction(self, records: int, seconds: float, outcome: Outcome) -> None:
        self._metrics.observe_transaction(outcome, seconds)
        self._metrics.observe_batch(records)

    def _on_registry_change(self, follower: RegistryFollower, knowledge: Knowledge) -> None:
        registry = follower.registry
        self._metrics.know_adapters(registry.keys(), registry.revision)
        self._metrics.traffic.show(
            (family, registry.traffic(family).revision, registry.shares(family))
            for family in registry.families()
        )
        knowledge.on_registry_change()

    async def _update_gauges(self, partitions: OwnedPartitions, batcher: MicroBatcher) -> None:
        topic = self._settings.topics.queries
        while True:
            self.report(partitions.not_ready)
            self._metrics.set_in_flight(batcher.in_flight)
            for number, records in partitions.lag().items():
                self._metrics.set_lag(topic, number, records)
            await asyncio.sleep(_GAUGE_SECONDS if self.is_ready else 0.1)

    async def _until_stopped(self, app: RouterApp, background: list[asyncio.Task[Any]]) -> None:
        crashed = asyncio.create_task(app.wait_until_stopped())
        stopping = asyncio.create_task(self.is_stopping.wait())
        done, _ = await asyncio.wait(
            {crashed, stopping, *background}, return_when=asyncio.FIRST_COMPLETED
        )
        stopping.cancel()
        crashed.cancel()
        for task in done & set(background):
            reason = "cancelled" if task.cancelled() else repr(task.exception())
            self.fail(f"a background task ended: {reason}")
        if crashed in done:
            self.fail(f"the Faust app ended: {app.crash_reason!r}")

    async def _shut_down(
        self,
        app: RouterApp,
        partitions: OwnedPartitions,
        batcher: MicroBatcher,
        background: list[asyncio.Task[Any]],
    ) -> None:
        consumer: Any = app.consumer
        consumer.stop_flow()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await batcher.drain()
        await partitions.close()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await app.stop()
