"""The gateway process: where everything it consists of is built, started and stopped."""

import asyncio
import logging
import resource
from contextlib import AsyncExitStack
from datetime import timedelta

from schemas.codec import Codec
from schemas.errors import ConfigurationError
from schemas.records import ReplyTo
from streams.gateway.access.access import Access
from streams.gateway.access.budgets import Budgets
from streams.gateway.access.keyring import Keyring
from streams.gateway.app import make_app
from streams.gateway.archive import Archive
from streams.gateway.base_models import BaseModels
from streams.gateway.chunks import Chunks
from streams.gateway.dashboard.feed import Feed
from streams.gateway.dashboard.watching import watching
from streams.gateway.exchange import Exchange
from streams.gateway.figures import Figures
from streams.gateway.gateway import Gateway
from streams.gateway.place import reply_partition
from streams.gateway.registering import Registrar
from streams.gateway.sender import Sender
from streams.gateway.server import ApiServer, is_loopback
from streams.gateway.settings import GatewaySettings
from streams.gateway.tail import Tail
from streams.kafka.access import await_rights
from streams.kafka.acls import gateway_acls, registrar_acls, topic_names
from streams.kafka.admin import await_cluster
from streams.kafka.cancels import Cancellations
from streams.kafka.writer_schemas import WriterSchemas, open_codec
from streams.parts import started
from streams.process import Process
from streams.registry.follow import RegistryFollower
from streams.registry.version import split_key
from streams.telemetry.gateway import GatewayMetrics
from streams.telemetry.server import leave_address

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0


def run() -> int:
    """Runs a gateway until it is told to stop; the exit status."""
    _allow_many_connections()
    return GatewayProcess(GatewaySettings()).run()


class GatewayProcess(Process):
    """One gateway: its parts, and the order in which they start and stop."""

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__("gateway", settings)
        self._settings = settings
        self._metrics = GatewayMetrics(self.prometheus)
        self._access = _access(settings)
        self._tails: list[Tail] = []
        self._server = ApiServer(
            settings.gateway_host, settings.gateway_port, settings.gateway_stall
        )

    async def serve(self) -> None:
        """Serves until told to stop."""
        settings = self._settings
        address = self._server.bind()
        try:
            acls = gateway_acls(settings.topics)
            if settings.admin_token is not None:
                acls += registrar_acls(settings.topics)
            topics = [*topic_names(acls), settings.topics.replies]
            counts = await await_cluster(settings, topics, self.wait_for)
            await await_rights(settings, acls, self.wait_for)
            self.wait_for("reading the registry")
            codec = await open_codec(settings)
            async with AsyncExitStack() as parts:
                gateway = await self._open(codec, counts, parts)
                await self._server.start(make_app(gateway))
                if settings.gateway_address_file is not None:
                    leave_address(settings.gateway_address_file, address)
                log.info("serving on http://%s", address)
                await self._until_stopped(gateway.sender)
                self._server.refuse()
                await gateway.exchange.drain(settings.shutdown_seconds)
                await gateway.feed.stop()
                await self._server.stop()
                await gateway.exchange.close()
        finally:
            await self._server.stop()

    async def _open(self, codec: Codec, counts: dict[str, int], parts: AsyncExitStack) -> Gateway:
        settings = self._settings
        schemas = await started(WriterSchemas(settings, codec), parts)
        follower = RegistryFollower(settings, codec, with_examples=False)
        follower.on_change(lambda: self._on_registry_change(follower))
        await started(follower, parts)
        base_models = await started(BaseModels(settings, codec), parts)
        sender = await started(Sender(settings, codec, self.name), parts)
        replies = settings.topics.replies
        partition = self._reply_partition(counts[replies])
        exchange = await self._exchange(codec, schemas, sender, partition, counts, parts)
        kept = timedelta(seconds=settings.gateway_figures)
        figures = await started(Figures(settings, codec, kept), parts)
        watch = watching(
            settings,
            codec,
            name=self.name,
            follower=follower,
            base_models=base_models,
            figures=figures,
            waits_for=lambda: self.waits_for,
        )
        feed = await started(Feed(watch), parts)
        self._metrics.watch_dashboard(lambda: len(feed), lambda: int(feed.is_watching))
        return Gateway(
            settings=settings,
            exchange=exchange,
            sender=sender,
            registry=follower.registry,
            base_models=base_models,
            archive=Archive(
                settings,
                schemas,
                lookback_seconds=settings.gateway_lookback,
                lookback_records=settings.gateway_lookback_records,
            ),
            figures=figures,
            access=self._access,
            budgets=Budgets(),
            registrar=Registrar(settings, f"admin@{self.name}"),
            feed=feed,
            reply_to=ReplyTo(replies, partition),
            metrics=self._metrics,
            tracing=self.tracing,
            waits_for=lambda: self.waits_for,
        )

    async def _exchange(
        self,
        codec: Codec,
        schemas: WriterSchemas,
        sender: Sender,
        partition: int,
        counts: dict[str, int],
        parts: AsyncExitStack,
    ) -> Exchange:
        """What sends queries, and reads what comes for them."""
        settings = self._settings
        topics = settings.topics
        cancellations = await started(Cancellations(settings, codec), parts)
        chunk_tail = Tail(
            settings,
            topics.chunks,
            partitions=range(counts[topics.chunks]),
            isolation="read_uncommitted",
        )
        replies = Tail(settings, topics.replies, partitions=[partition], isolation="read_committed")
        self._tails = [chunk_tail, replies]
        chunks = Chunks(chunk_tail)
        exchange = Exchange(
            topics=topics,
            sender=sender,
            chunks=chunks,
            codec=codec,
            schemas=schemas,
            cancellations=cancellations,
            metrics=self._metrics,
            most=settings.gateway_requests,
            most_chars=settings.gateway_stream_chars,
            waits_for=lambda: None if self.is_stopping.is_set() else self.waits_for,
        )
        self._metrics.watch(lambda: len(exchange), lambda: chunks.open)
        chunk_tail.listen(exchange.on_chunk)
        replies.listen(exchange.on_reply)
        await started(chunks, parts)
        await started(replies, parts)
        log.info("replies come to partition %d of %s", partition, topics.replies)
        return exchange

    def _reply_partition(self, partitions: int) -> int:
        if self._settings.gateway_partition is not None:
            return self._settings.gateway_partition % partitions
        return reply_partition(self.name, partitions)

    def _on_registry_change(self, follower: RegistryFollower) -> None:
        registry = follower.registry
        keys = registry.keys()
        names = {*(split_key(key)[0] for key in keys), *registry.families()}
        self._metrics.know_registry(keys, registry.revision, names)

    async def _until_stopped(self, sender: Sender) -> None:
        """Says meanwhile whether queries can be sent and answers come."""
        stopping = asyncio.create_task(self.is_stopping.wait())
        while not stopping.done():
            looking = asyncio.create_task(self._lacks(sender))
            await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not looking.done():
                # A broker that hangs is not waited for.
                looking.cancel()
                return
            self.report(looking.result())
            for tail in self._tails:
                if (failure := tail.failure) is not None:
                    self.fail(f"{tail.topic} can't be read any more: {failure!r}")
            await asyncio.wait({stopping}, timeout=_LOOK_SECONDS)

    async def _lacks(self, sender: Sender) -> str | None:
        if not await sender.reaches_kafka():
            return f"waiting for Kafka at {self._settings.kafka}"
        missing = [tail.topic for tail in self._tails if not tail.topic_is_there]
        return f"waiting for topics {', '.join(missing)}" if missing else None


def _access(settings: GatewaySettings) -> Access:
    """Raises: ConfigurationError for unreadable keys, or none where others may come."""
    if settings.gateway_keys is not None:
        return Access(settings.admin_token, Keyring(settings.gateway_keys))
    if not (is_loopback(settings.gateway_host) or settings.gateway_open):
        raise ConfigurationError(
            f"LORELAY_GATEWAY_HOST={settings.gateway_host} lets everybody ask who reaches it: name "
            "a file of keys in LORELAY_GATEWAY_KEYS (`lorelay gateway keys add` makes one), or set "
            "LORELAY_GATEWAY_OPEN=true if something in front of it asks who comes."
        )
    return Access(settings.admin_token)


def _allow_many_connections() -> None:
    """As many as the system lets us: each open stream is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
