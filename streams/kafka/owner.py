"""What one member does with one assigned input partition, from assignment to revocation."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka.log_ranges import LogRanges
from streams.kafka.output import Output
from streams.kafka.transactions import (
    Fenced,
    OwnershipLost,
    PartitionTransactions,
    Refused,
    TopicMissing,
)
from streams.kafka.window import MetadataInvalid, OffsetBeyondLog, OffsetWindow

log = logging.getLogger(__name__)

Outcome = Literal["committed", "aborted", "fenced", "unknown"]
#: Called with the number of records and the seconds of each transaction, and its outcome.
OnTransaction = Callable[[int, float, Outcome], None]

#: Called with a topic and how many of its records were deleted before they were finished.
OnDeleted = Callable[[str, int], None]

#: How often a topic is looked for that outputs go to and that is not there.
_AGAIN_SECONDS = 1.0


class PartitionOwner:
    """The window, the unwritten results and the transactions of one assigned partition.

    One transaction is in flight at a time; what finishes meanwhile joins the next one.
    """

    def __init__(
        self,
        partition: TopicPartition,
        transactions: PartitionTransactions,
        *,
        linger_seconds: float,
        on_transaction: OnTransaction,
        on_deleted: OnDeleted,
        on_lost: Callable[["PartitionOwner"], None],
    ) -> None:
        self.partition = partition
        self.window = OffsetWindow()
        self.is_ready = False
        #: Why this partition can't be consumed or written for, whoever owns it; None where it can.
        self.problem: str | None = None
        self.unwritten: dict[int, Sequence[Output]] = {}
        self._transactions = transactions
        self._linger_seconds = linger_seconds
        self._on_transaction = on_transaction
        self._on_deleted = on_deleted
        self._on_lost = on_lost
        self._results = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_revoked = False
        self._writer: asyncio.Task[None] | None = None

    async def acquire(self, admin: AIOKafkaAdminClient, ranges: LogRanges) -> None:
        """Fences earlier owners and takes over where they committed; then `window` is theirs.

        The order matters: only an offset that is read after the initialisation is final.

        Raises: KafkaError; OffsetBeyondLog or MetadataInvalid where the group's offsets don't
        belong to this log.
        """
        committed = await self._transactions.initialise(admin)
        start, end = await ranges.of(self.partition)
        try:
            window, lost = OffsetWindow.restore(committed, start, end)
        except (OffsetBeyondLog, MetadataInvalid) as error:
            self.problem = f"{self.partition.topic}/{self.partition.partition}: {error}"
            raise
        if lost:
            log.error(
                "%s: retention deleted %d unfinished records below offset %d",
                self.partition,
                lost,
                start,
            )
            self._on_deleted(self.partition.topic, lost)
        if self._is_revoked:
            return
        self.window = window
        self.is_ready = True
        self._writer = asyncio.create_task(self._write(), name=f"writer {self.partition}")

    def finish(self, offset: int, outputs: Sequence[Output]) -> None:
        """Queues the outputs of a delivered offset for the next transaction."""
        self.unwritten[offset] = outputs
        self._results.set()

    async def flush(self) -> None:
        """Waits until all that is finished is committed, or the ownership is lost."""
        while self.unwritten and self.is_ready:
            self._idle.clear()
            await self._idle.wait()

    async def revoke(self) -> None:
        """Writes nothing more; waits for the running transaction to end."""
        self.is_ready = False
        self._is_revoked = True
        self._results.set()
        if self._writer is not None and self._writer is not asyncio.current_task():
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer
        await self._transactions.close()

    async def _write(self) -> None:
        last_began = float("-inf")
        while True:
            await self._results.wait()
            # Transactions begin at least the linger apart: the first after a pause at once.
            pause = last_began + self._linger_seconds - monotonic()
            if pause > 0 and not self._is_revoked:
                await asyncio.sleep(pause)
            if self._is_revoked:
                break
            self._results.clear()
            last_began = monotonic()
            if not await self._write_batch():
                break
            if not self.unwritten:
                self._idle.set()
        self._idle.set()

    async def _write_batch(self) -> bool:
        batch = dict(self.unwritten)
        for offset in filter(self.window.is_unfinished, batch):
            self.window.finish(offset)
        outputs = [output for results in batch.values() for output in results]
        started = monotonic()
        try:
            await self._transactions.commit(outputs, self.window.committed())
        except TopicMissing as error:
            if self.problem is None:
                log.error("%s: there is no topic %s to write to", self.partition, error)
            self.problem = f"waiting for topics {error}"
            self._results.set()
            await asyncio.sleep(_AGAIN_SECONDS)
            return True
        except Exception as error:
            # The results stay in `unwritten`: the next assignment of this partition tells
            # whether they were committed, and writes them if not.
            if not isinstance(error, OwnershipLost):
                log.exception("%s: a transaction failed", self.partition)
            self.is_ready = False
            outcome: Outcome = "unknown"
            if isinstance(error, Fenced | Refused):
                outcome = "fenced" if isinstance(error, Fenced) else "aborted"
            self._on_transaction(len(batch), monotonic() - started, outcome)
            log.warning("%s; waiting for the next assignment", error)
            self._on_lost(self)
            return False
        self.problem = None
        for offset in batch:
            del self.unwritten[offset]
        self._on_transaction(len(batch), monotonic() - started, "committed")
        for output in outputs:
            if output.on_committed is not None:
                output.on_committed()
        return True
