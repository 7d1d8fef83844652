"""Consume-and-produce, exactly once, with work that ends in any order (the worker's side)."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from streams.kafka.access import forbidden, unseen
from streams.kafka.consumers import is_away, stop, topic_is_there
from streams.kafka.limits import SizeLimits
from streams.kafka.log_ranges import LogRanges
from streams.kafka.output import Output
from streams.kafka.owner import OnDeleted, OnTransaction, PartitionOwner
from streams.kafka.settings import MAX_POLL_INTERVAL_MS, METADATA_MAX_AGE_MS, KafkaSettings
from streams.kafka.settling import Unsettled
from streams.kafka.transactions import PartitionTransactions
from streams.kafka.window import MetadataInvalid, OffsetBeyondLog

log = logging.getLogger(__name__)

#: A partition is paused this many offsets before its window is full.
PAUSE_MARGIN = 1024
_POLL_MS = 250


class Handler(Protocol):
    """What works on records. It must answer each by `ExactlyOnceConsumer.finish`, some time."""

    def on_record(self, record: ConsumerRecord[Any, Any]) -> None:
        """Starts work on a record. Must not raise."""

    def on_lost(self, partition: TopicPartition, offsets: Collection[int]) -> None:
        """These results are no longer wanted: another member has the partition, or may have had."""


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How a member takes part in its group; times in seconds.

    A fetch is answered once there are ``fetch_min_bytes``, or after ``fetch_max_wait``. The
    outputs go to ``writes_to``. Work that runs goes on over a rebalance that brings its partition
    back, for each record has a result of its own; where one result stands for several records
    that must not be: another member may have finished some of them meanwhile.
    """

    max_in_flight: int = 256
    max_in_flight_bytes: int = 64 * 1024 * 1024
    fetch_min_bytes: int = 1
    fetch_max_wait: float = 0.5
    linger_seconds: float = 0.0
    session_timeout: float = 10.0
    instance_id: str | None = None
    writes_to: Collection[str] = ()
    goes_on: bool = True


class ExactlyOnceConsumer:
    """One member of a consumer group over one topic."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        topic: str,
        handler: Handler,
        options: ConsumerOptions,
        on_transaction: OnTransaction = lambda records, seconds, outcome: None,
        on_deleted: OnDeleted = lambda topic, records: None,
    ) -> None:
        self._settings = settings
        self._group = group
        self._topic = topic
        self._handler = handler
        self._options = options
        self._on_transaction = on_transaction
        self._on_deleted = on_deleted
        self._limits = SizeLimits(settings.max_record_bytes)
        self._unsettled = Unsettled(options.writes_to)
        self._owners: dict[TopicPartition, PartitionOwner] = {}
        self._acquisitions: set[asyncio.Task[None]] = set()
        #: The offsets that the handler is at, and the size of each record in bytes.
        self._started: defaultdict[TopicPartition, dict[int, int]] = defaultdict(dict)
        self._bytes_in_flight = 0
        self._results: defaultdict[TopicPartition, dict[int, Sequence[Output]]] = defaultdict(dict)
        self._room = asyncio.Event()
        self._is_stopping = asyncio.Event()
        self._has_joined = False
        self._trouble: str | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._ranges: LogRanges | None = None

    @property
    def in_flight(self) -> int:
        """Records handed to the handler and not finished."""
        return sum(len(offsets) for offsets in self._started.values())

    @property
    def not_ready(self) -> str | None:
        """Why this member does not consume yet; None once it does (or has nothing to)."""
        waits_for = self._waits_for()
        return f"{waits_for}: {self._trouble}" if waits_for and self._trouble else waits_for

    def _waits_for(self) -> str | None:
        if self._consumer is None or is_away(self._consumer):
            return f"waiting for Kafka at {self._settings.kafka}"
        if not self._has_joined:
            return f"joining the group {self._group}"
        if not topic_is_there(self._consumer, self._topic):
            return f"waiting for {unseen(self._settings, [self._topic])}"
        return self._not_taken_over()

    def _not_taken_over(self) -> str | None:
        if problems := {owner.problem for owner in self._owners.values() if owner.problem}:
            return "; ".join(sorted(problems))
        waiting = [owner.partition for owner in self._owners.values() if not owner.is_ready]
        if waiting:
            return f"taking over {len(waiting)} partitions of {self._topic}"
        return None

    def lag(self) -> dict[TopicPartition, int]:
        """Records up to the high watermark that are not finished, by owned partition."""
        if self._consumer is None:
            return {}
        found = {}
        for partition, owner in self._owners.items():
            end = self._consumer.highwater(partition)
            if owner.is_ready and end is not None:
                found[partition] = max(0, end - self._reached(self._consumer, owner))
        return found

    @staticmethod
    def _reached(consumer: AIOKafkaConsumer, owner: PartitionOwner) -> int:
        """The oldest unfinished offset, or else the next one to fetch: past trailing markers."""
        assignment = consumer._subscription.subscription.assignment
        state = assignment.state_value(owner.partition) if assignment else None
        if owner.window.unfinished or state is None or not state.has_valid_position:
            return owner.window.position
        return max(owner.window.position, int(state.position))

    def spans(self) -> dict[TopicPartition, int]:
        """Offsets between the oldest unfinished and the newest fetched, by owned partition."""
        return {partition: owner.window.span for partition, owner in self._owners.items()}

    def finish(
        self, partition: TopicPartition, offset: int, outputs: Sequence[Output] = ()
    ) -> None:
        """Gives the outputs of a record: they and its offset are committed together.

        What is finished without an `await` in between goes into one transaction. Raises:
        RecordTooLarge; the record is unfinished still, so answer with something smaller.
        """
        if offset not in self._started[partition]:
            return
        self._limits.check(outputs)
        owner = self._owners.get(partition)
        if owner is not None and owner.is_ready and owner.window.is_unfinished(offset):
            owner.finish(offset, outputs)
        else:
            # Between two assignments: kept for the next one, should it be ours.
            self._results[partition][offset] = outputs
        self._end(partition, offset)

    def finish_with_what_fits(
        self, partition: TopicPartition, offset: int, outputs: Sequence[Output]
    ) -> None:
        """The same, without the outputs that are too large: for the error about such a one."""
        self.finish(partition, offset, self._limits.fitting(outputs))

    def hand_back(self, partition: TopicPartition, offset: int) -> None:
        """Leaves a record unfinished: whoever is assigned the partition next gets it again.

        Only for a member that is leaving: this one gets it no more.
        """
        self._end(partition, offset)

    def _end(self, partition: TopicPartition, offset: int) -> None:
        self._bytes_in_flight -= self._started[partition].pop(offset, 0)
        self._room.set()

    async def run(self) -> None:
        """Consumes until `stop`; survives a broker that is away."""
        delay = 0.5
        while not self._is_stopping.is_set():
            try:
                await self._session()
                delay = 0.5
            except KafkaError as error:
                self._trouble = forbidden(self._settings, error)
                log.warning("Kafka at %s: %r; trying again", self._settings.kafka, error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._is_stopping.wait()
                delay = min(delay * 2, 10.0)

    def stop_fetching(self) -> None:
        """Takes no more records; `run` ends once what is in flight is committed."""
        self._is_stopping.set()

    async def stop(self, within: float) -> None:
        """Fetches no more; waits, `within` seconds, until what is in flight is committed.

        `run` ends then; cancel it where the time was too short.
        """
        self.stop_fetching()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.in_flight:
                    self._room.clear()
                    await self._room.wait()
                await asyncio.gather(*(owner.flush() for owner in self._owners.values()))

    async def _session(self) -> None:
        self._admin = AIOKafkaAdminClient(**self._settings.client_kwargs())
        self._ranges = LogRanges(self._settings)
        consumer = AIOKafkaConsumer(
            group_id=self._group,
            group_instance_id=self._options.instance_id,
            isolation_level="read_committed",
            enable_auto_commit=False,
            # A position that retention overtook is reported, never jumped over in silence.
            auto_offset_reset="none",
            partition_assignment_strategy=(_sticky_assignor(),),
            session_timeout_ms=int(self._options.session_timeout * 1000),
            heartbeat_interval_ms=int(self._options.session_timeout * 1000 / 5),
            rebalance_timeout_ms=30_000,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            fetch_min_bytes=self._options.fetch_min_bytes,
            fetch_max_wait_ms=int(self._options.fetch_max_wait * 1000),
            **self._settings.client_kwargs(),
        )
        try:
            await self._admin.start()
            await self._ranges.start()
            await consumer.start()
            consumer.subscribe([self._topic], listener=_Listener(self))
            self._consumer = consumer
            await self._fetch(consumer)
        finally:
            self._consumer, self._has_joined = None, False
            await _to_the_end(self._leave(consumer, self._admin, self._ranges))

    async def _leave(
        self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient, ranges: LogRanges
    ) -> None:
        await self._revoke()
        await stop(consumer)
        await admin.close()
        await ranges.stop()

    async def _fetch(self, consumer: AIOKafkaConsumer) -> None:
        while not (self._is_stopping.is_set() and not self.in_flight and not self._is_writing()):
            owners = self._open_owners()
            room = self._options.max_in_flight - self.in_flight
            is_full = room <= 0 or self._bytes_in_flight >= self._options.max_in_flight_bytes
            if not owners or is_full or self._is_stopping.is_set():
                self._room.clear()
                with contextlib.suppress(TimeoutError):
                    # Not wait_for: until Python 3.12 that loses a cancellation at its very end.
                    async with asyncio.timeout(_POLL_MS / 1000):
                        await self._room.wait()
                consumer._coordinator.check_errors()
                continue
            try:
                fetched = await consumer.getmany(
                    *owners, timeout_ms=_POLL_MS, max_records=min(room, 1024)
                )
            except OffsetOutOfRangeError as error:
                for partition in error.args[0]:
                    log.error("%s: retention overtook this member; starting over", partition)
                self._rejoin(consumer)
                continue
            if self._is_stopping.is_set():
                continue
            for partition, records in fetched.items():
                self._deliver(consumer, owners[partition], records)

    def _is_writing(self) -> bool:
        return any(owner.unwritten and owner.is_ready for owner in self._owners.values())

    def _open_owners(self) -> dict[TopicPartition, PartitionOwner]:
        return {
            partition: owner
            for partition, owner in self._owners.items()
            if owner.is_ready and owner.window.fits(owner.window.next_offset + PAUSE_MARGIN)
        }

    def _deliver(
        self,
        consumer: AIOKafkaConsumer,
        owner: PartitionOwner,
        records: Sequence[ConsumerRecord[Any, Any]],
    ) -> None:
        partition = owner.partition
        current = self._owners.get(partition)
        if current is not owner or not owner.is_ready:
            # The assignment changed during the fetch. These records are of the old one; the
            # fetch may have moved the new one's position, so it is set again.
            if current is not None and current.is_ready:
                with contextlib.suppress(IllegalStateError):
                    consumer.seek(partition, current.window.next_offset)
            return
        results = self._results[partition]
        started = self._started[partition]
        for record in records:
            offset = record.offset
            if not owner.window.fits(offset):
                # Behind a long run of aborted records: fetched again when the window has moved.
                consumer.seek(partition, offset)
                break
            if not owner.window.deliver(offset):
                results.pop(offset, None)
            elif offset in results:
                owner.finish(offset, results.pop(offset))
            elif offset not in started:
                started[offset] = size = len(record.value or b"")
                self._bytes_in_flight += size
                self._handler.on_record(record)

    def _rejoin(self, consumer: AIOKafkaConsumer) -> None:
        # A new assignment is the only safe way back: initialising the producer again in place
        # would fence the true owner, should this member have been evicted meanwhile.
        consumer._coordinator.request_rejoin()

    def _on_owner_lost(self, owner: PartitionOwner) -> None:
        if self._consumer is not None and self._owners.get(owner.partition) is owner:
            consumer = self._consumer
            asyncio.get_running_loop().call_later(0.5, self._rejoin, consumer)

    async def _revoke(self) -> None:
        acquisitions = list(self._acquisitions)
        for task in acquisitions:
            task.cancel()
        # A producer that is still starting can't be stopped: its connection would stay open.
        await asyncio.gather(*acquisitions, return_exceptions=True)
        owners = list(self._owners.values())
        await asyncio.gather(*(owner.revoke() for owner in owners))
        for owner in owners:
            # What has turned out too large is given to the handler again, who then is told.
            self._results[owner.partition].update(
                (offset, outputs)
                for offset, outputs in owner.unwritten.items()
                if self._limits.fit(outputs)
            )
        self._owners.clear()

    async def _assign(
        self, consumer: AIOKafkaConsumer, assigned: Collection[TopicPartition]
    ) -> None:
        for partition in set(self._started) | set(self._results):
            if partition not in assigned or not self._options.goes_on:
                self._results.pop(partition, None)
                lost = self._started.pop(partition, {})
                self._bytes_in_flight -= sum(lost.values())
                self._handler.on_lost(partition, lost.keys())
        self._room.set()
        for partition in assigned:
            # Until it is taken over: aiokafka would go and look for a committed offset by itself,
            # start fetching from there, and raise where there is none yet.
            consumer.pause(partition)
            consumer.seek(partition, 0)
            owner = PartitionOwner(
                partition,
                PartitionTransactions(
                    self._settings,
                    self._group,
                    partition,
                    self._limits,
                    self._unsettled,
                ),
                linger_seconds=self._options.linger_seconds,
                on_transaction=self._on_transaction,
                on_deleted=self._on_deleted,
                on_lost=self._on_owner_lost,
            )
            self._owners[partition] = owner
            # Not awaited here: no heartbeat is sent while a listener runs.
            task = asyncio.create_task(self._acquire(owner, consumer))
            self._acquisitions.add(task)
            task.add_done_callback(self._acquisitions.discard)
        self._has_joined = True

    async def _acquire(self, owner: PartitionOwner, consumer: AIOKafkaConsumer) -> None:
        assert self._admin is not None and self._ranges is not None
        try:
            await owner.acquire(self._admin, self._ranges)
            if owner.is_ready:
                consumer.seek(owner.partition, owner.window.position)
                consumer.resume(owner.partition)
            self._trouble = None
        except (OffsetBeyondLog, MetadataInvalid) as error:
            log.critical("%s is not consumed: %s", owner.partition, error)
            return
        except Exception as error:  # whatever it is: nobody else would try again
            self._trouble = forbidden(self._settings, error)
            log.warning("taking over %s failed: %r", owner.partition, error)
            if self._owners.get(owner.partition) is owner:
                asyncio.get_running_loop().call_later(1.0, self._rejoin, consumer)
            return
        results = self._results[owner.partition]
        for offset in [known for known in results if known < owner.window.position]:
            del results[offset]
        self._room.set()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes rebalances on; aiokafka awaits these, and swallows what they raise."""

    def __init__(self, member: ExactlyOnceConsumer) -> None:
        self._member = member

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._member._revoke()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        consumer = self._member._consumer
        if consumer is not None:
            await self._member._assign(consumer, assigned)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits the work; who cancels this meanwhile has to wait for it, too.

    A member that were cut short while it leaves would hold its partitions until its session
    times out.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _sticky_assignor() -> type[StickyPartitionAssignor]:
    # aiokafka keeps the last assignment on the class: two members in one process would share it.
    return type("StickyAssignor", (StickyPartitionAssignor,), {})
