"""The input partitions that a Faust app owns, each with its window and its transactions."""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.kafka.access import forbidden, unseen
from streams.kafka.limits import SizeLimits
from streams.kafka.log_ranges import LogRanges
from streams.kafka.output import Output
from streams.kafka.owner import OnDeleted, OnTransaction, Outcome, PartitionOwner
from streams.kafka.settling import Unsettled
from streams.kafka.transactions import PartitionTransactions
from streams.kafka.window import MetadataInvalid, OffsetBeyondLog
from streams.router.faust_app import RouterApp
from streams.router.settings import RouterSettings

log = logging.getLogger(__name__)


class OwnedPartitions:
    """Follows the app's assignments for one topic.

    Connected to Faust's signals: `on_rebalance_complete` is awaited before Faust seeks to the
    committed offsets, so producers are initialised first and offsets read after.
    """

    def __init__(
        self,
        app: RouterApp,
        settings: RouterSettings,
        topic: str,
        limits: SizeLimits,
        on_transaction: OnTransaction,
        on_deleted: OnDeleted,
    ) -> None:
        self._limits = limits
        self._app = app
        self._settings = settings
        self._topic = topic
        topics = settings.topics
        self._unsettled = Unsettled(
            (topics.requests, topics.responses, topics.replies, topics.dead_letters)
        )
        self._on_transaction = on_transaction
        self._on_deleted = on_deleted
        self._on_committed: Callable[[], None] = lambda: None
        self._on_revoked: Callable[[], None] = lambda: None
        self._owners: dict[int, PartitionOwner] = {}
        self._generation = -1
        self._lock = asyncio.Lock()
        #: What there is still to wait for; None once partitions were assigned.
        self._joining: str | None = f"joining the group {settings.router_group}"
        signals: Any = app
        signals.on_rebalance_complete.connect(self._assigned, weak=False)
        signals.on_partitions_revoked.connect(self._revoked, weak=False)

    def listen(self, on_committed: Callable[[], None], on_revoked: Callable[[], None]) -> None:
        """Whom to tell that a transaction has ended, and that all partitions were given up."""
        self._on_committed = on_committed
        self._on_revoked = on_revoked

    @property
    def not_ready(self) -> str | None:
        """What there is to wait for; None where every partition of ours is consumed."""
        if self._app.is_away:
            return f"waiting for Kafka at {self._settings.kafka}"
        if self._joining:
            return self._joining
        if not self._app.knows(self._topic):
            return f"waiting for {unseen(self._settings, [self._topic])}"
        problems = {owner.problem for owner in self._owners.values() if owner.problem}
        return "; ".join(sorted(problems)) or None

    @property
    def has_first(self) -> bool:
        """Whether the topic's first partition is ours: of all routers, that is true of one."""
        owner = self._owners.get(0)
        return owner is not None and owner.is_ready

    def accept(self, message: Any) -> PartitionOwner | None:
        """The owner to finish this message with; None for a stale or repeated one."""
        if message.generation_id != self._generation:
            return None
        owner = self._owners.get(message.partition)
        if owner is None or not owner.is_ready or not owner.window.deliver(message.offset):
            return None
        return owner

    def is_current(self, owner: PartitionOwner) -> bool:
        """Whether results for this owner can still be committed."""
        return owner.is_ready and self._owners.get(owner.partition.partition) is owner

    def finish(self, owner: PartitionOwner, offset: int, outputs: Sequence[Output]) -> None:
        """Queues a message's outputs; dropped where the partition was revoked meanwhile."""
        if self.is_current(owner):
            owner.finish(offset, outputs)

    def uncommitted(self) -> int:
        """Messages whose outputs wait for their transaction."""
        return sum(len(owner.unwritten) for owner in self._owners.values())

    def lag(self) -> dict[int, int]:
        """Records up to the high watermark that are not finished, by partition."""
        consumer: Any = self._app.consumer
        found = {}
        for number, owner in self._owners.items():
            end = consumer.highwater(_faust_partition(owner.partition)) if owner.is_ready else None
            if end is not None:
                found[number] = max(0, end - owner.window.position)
        return found

    async def flush(self) -> None:
        """Waits until everything finished so far is committed."""
        await asyncio.gather(*(owner.flush() for owner in self._owners.values()))

    async def close(self) -> None:
        """Gives all partitions up."""
        async with self._lock:
            await self._release()

    async def _assigned(self, app: Any, **_: Any) -> None:
        async with self._lock:
            await self._release()
            generation = self._app.consumer_generation_id
            numbers = sorted(
                tp.partition for tp in app.consumer.assignment() if tp.topic == self._topic
            )
            admin = AIOKafkaAdminClient(**self._settings.client_kwargs())
            ranges = LogRanges(self._settings)
            try:
                await admin.start()
                await ranges.start()
                # All come to their end, whichever fails: none is left to start a producer later.
                taken = await asyncio.gather(
                    *(self._acquire(number, admin, ranges) for number in numbers),
                    return_exceptions=True,
                )
                for failure in filter(None, taken):
                    raise failure
            except KafkaError as error:
                log.error("taking over partitions of %s failed: %r", self._topic, error)
                await self._release()
                asyncio.get_running_loop().call_later(1.0, self._app.request_rejoin)
                reason = forbidden(self._settings, error) or type(error).__name__
                self._joining = f"taking over partitions of {self._topic}: {reason}"
                return
            finally:
                await admin.close()
                await ranges.stop()
            if self._app.consumer_generation_id != generation:
                await self._release()
                return
            self._generation = generation
            self._joining = None

    async def _acquire(self, number: int, admin: AIOKafkaAdminClient, ranges: LogRanges) -> None:
        partition = TopicPartition(self._topic, number)
        group = self._app.conf.id
        owner = PartitionOwner(
            partition,
            PartitionTransactions(self._settings, group, partition, self._limits, self._unsettled),
            linger_seconds=0.0,
            on_transaction=self._transaction_ended,
            on_deleted=self._on_deleted,
            on_lost=self._lost,
        )
        self._owners[number] = owner
        try:
            await owner.acquire(admin, ranges)
        except (OffsetBeyondLog, MetadataInvalid) as error:
            log.critical("%s is not consumed: %s", partition, error)

    def _transaction_ended(self, records: int, seconds: float, outcome: Outcome) -> None:
        self._on_transaction(records, seconds, outcome)
        self._on_committed()

    def _lost(self, owner: PartitionOwner) -> None:
        if self._owners.get(owner.partition.partition) is owner:
            asyncio.get_running_loop().call_later(0.5, self._app.request_rejoin)

    async def _revoked(self, app: Any, revoked: Collection[Any] = (), **_: Any) -> None:
        async with self._lock:
            await self._release()
        self._on_revoked()

    async def _release(self) -> None:
        self._generation = -1
        owners = list(self._owners.values())
        self._owners.clear()
        await asyncio.gather(*(owner.revoke() for owner in owners))


def _faust_partition(partition: TopicPartition) -> Any:
    from faust.types import TP

    return TP(partition.topic, partition.partition)
