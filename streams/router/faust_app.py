"""The Faust application: what of Faust's defaults an exactly-once router can't live with."""

import logging
from collections.abc import Mapping
from typing import Any, cast

import faust
from aiokafka import AIOKafkaConsumer
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.tables import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka.consumers import is_away, stop, topic_is_there
from streams.kafka.settings import MAX_POLL_INTERVAL_MS, METADATA_MAX_AGE_MS
from streams.router.settings import RouterSettings


class _ReadCommittedThread(driver.AIOKafkaConsumerThread):
    """Reads committed records only, which Faust does in its own exactly-once mode alone."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seeks every partition to where its group is, after what was read too early.

        aiokafka leaves a partition where it is while nothing is committed, or 0: what Faust has
        read of it and dropped during a rebalance would never be read again.
        """
        return cast(Mapping[TP, int], await self.call_thread(self._seek_to_committed))

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        consumer = self._ensure_consumer()
        offsets = await consumer.seek_to_committed()
        if fresh := [partition for partition, offset in offsets.items() if not offset]:
            await consumer.seek_to_beginning(*fresh)
        return cast(Mapping[TP, int], offsets)

    async def on_thread_stop(self) -> None:
        # As Faust does it, but for the stop: while the broker is away its own ends the thread with
        # an error, and the app then waits a minute for it.
        await super(driver.AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is not None:
            await stop(self._consumer)


class _Consumer(driver.Consumer):
    def resume_flow(self) -> None:
        # Not after a rebalance that the next one has overtaken. Where one assigns nothing, Faust
        # resumes without having waited for offsets, so that `_Recovery._wait` doesn't see it.
        if cast(_Tables, self.app.tables).recovery.is_current:
            super().resume_flow()

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


class _Recovery(Recovery):
    """Ends every rebalance, however long the broker is away, unless another one has begun.

    Faust waits so long for the committed offsets as a request may take, mistakes the end of that
    time for an order to stop, and then never resumes after this rebalance or any later one. And
    it lets messages flow while partitions are given up and assigned, where a rebalance gets its
    offsets only after the next one has begun: what flows then begins anywhere.
    """

    _rebalance = 0

    @property
    def is_current(self) -> bool:
        """Whether no other rebalance has begun since."""
        return bool(self._rebalance == self.app.rebalancing_count)

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        if generation_id == self.app.consumer_generation_id:
            self._rebalance = self.app.rebalancing_count
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109
        await super()._wait(coro)
        if not self.is_current:
            raise RebalanceAgain


class _Tables(TableManager):
    async def on_start(self) -> None:
        # As Faust does it, but for the second in which an app may still declare a table.
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> _Recovery:
        if self._recovery is None:
            self._recovery = _Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast(_Recovery, self._recovery)


class RouterApp(faust.App):
    """A Faust app without tables, web server, leader election or files of its own."""

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        # Faust stops the flow only where partitions are given up: of those that a router without
        # any gets, it then reads some before it has sought the committed offset.
        self.flow_control.suspend()
        self.consumer.stop_flow()
        await super()._on_partitions_revoked(revoked)

    @property
    def is_away(self) -> bool:
        """Whether the cluster is not there, by what its consumer knows."""
        consumer = self._kafka_consumer()
        return consumer is not None and is_away(consumer)

    def knows(self, topic: str) -> bool:
        """Whether the cluster has that topic, by what its consumer knows."""
        consumer = self._kafka_consumer()
        return consumer is None or topic_is_there(consumer, topic)

    def _kafka_consumer(self) -> AIOKafkaConsumer | None:
        thread = cast(Any, self.consumer)._thread
        return None if thread is None else thread._consumer

    def request_rejoin(self) -> None:
        """Asks for a new assignment: the one safe way back after a lost ownership."""
        thread = cast(Any, self.consumer)._thread
        coordinator = thread._ensure_consumer()._coordinator
        thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)


def make_app(settings: RouterSettings) -> RouterApp:
    """The app, with its driver told to read committed records only."""
    # mode's services log their life under the name of the class's module: ours.
    logging.getLogger(__name__).setLevel(logging.WARNING)
    servers = ";".join(f"kafka://{server}" for server in settings.kafka.split(","))
    app = RouterApp(
        settings.router_group,
        broker=servers,
        broker_credentials=_credentials(settings),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        key_serializer="raw",
        value_serializer="raw",
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        consumer_group_instance_id=settings.instance,
        broker_session_timeout=settings.session_timeout,
        broker_heartbeat_interval=settings.session_timeout / 5,
        broker_request_timeout=max(
            settings.request_timeout_ms / 1000, settings.session_timeout + 1
        ),
        broker_rebalance_timeout=30.0,
        # A query may have a megabyte, and all of these are held before the batcher sees them.
        broker_max_poll_records=256,
        broker_max_poll_interval=MAX_POLL_INTERVAL_MS / 1000,
        # Offsets are committed in our transactions; Faust's own commits have nothing to do.
        broker_commit_interval=60.0,
        stream_wait_empty=False,
        stream_buffer_maxsize=256,
        stream_processing_timeout=3600.0,
        loghandlers=[],
        TableManager=_Tables,
    )
    app.transport = _Transport(app.conf.broker_consumer, app, app.loop)
    return app


def _credentials(settings: RouterSettings) -> Credentials | None:
    """What Faust's consumer and producer are both made with."""
    if settings.uses_sasl:
        return SASLCredentials(
            username=settings.kafka_username,
            password=settings.password,
            ssl_context=settings.ssl_context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return SSLCredentials(settings.ssl_context) if settings.uses_tls else None
