"""Keeps the tables in step with the topic.

The offsets are in the database, in the transaction of the rows that they count in: whatever is
killed or cut off between any two steps, and however many sinks run, each record is in the rows
once. So nothing here needs to remember anything: after any trouble it begins anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import psycopg
from aiokafka.errors import OffsetOutOfRangeError
from psycopg.errors import (
    IdleInTransactionSessionTimeout,
    ReadOnlySqlTransaction,
    TransactionTimeout,
)

from schemas.errors import ConfigurationError
from streams.kafka.settings import KafkaSettings
from streams.sink.address import DatabaseAddress
from streams.sink.log import MetricsLog
from streams.sink.store import MetricsStore, SetBack

_FIRST_DELAY_SECONDS: Final = 1.0
_LONGEST_DELAY_SECONDS: Final = 30.0

#: What passes. After a failover a server may take no writes yet, or the old one none any more;
#: the time-outs end a connection as a restart does, though psycopg counts them as internal.
_AWAY: Final = (
    psycopg.OperationalError,
    ReadOnlySqlTransaction,
    IdleInTransactionSessionTimeout,
    TransactionTimeout,
)


@dataclass(slots=True)
class Progress:
    """What one run has done so far; ``until`` is the end of the newest window written."""

    records: int = 0
    unreadable: int = 0
    until: datetime | None = None


class Listener(Protocol):
    """Who is told what happens."""

    def on_trouble(self, sentence: str) -> None:
        """Something to look at; the work goes on."""

    def on_progress(self, progress: Progress) -> None:
        """A transaction was committed."""


class MetricsSink:
    """Reads, adds up, and writes, until it has caught up or for ever."""

    def __init__(
        self,
        settings: KafkaSettings,
        address: DatabaseAddress,
        listener: Listener,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._address = address
        self._listener = listener
        self._sleep = sleep
        self._delay = _FIRST_DELAY_SECONDS
        self._has_written = False
        self.progress = Progress()

    async def run(self, *, once: bool = False) -> None:
        """With ``once`` it ends when all is written that was there at the start.

        A database that is lost is waited for, one that can't be used at first is not. Raises:
        ConfigurationError, KafkaError.
        """
        while True:
            try:
                if await self._session(once):
                    return
            except _AWAY as error:
                reason = _sentence(error)
                if not self._has_written:
                    raise ConfigurationError(
                        f"PostgreSQL at {self._address} can't be used: {reason}"
                    ) from None
                self._listener.on_trouble(
                    f"PostgreSQL at {self._address}: {reason}; trying again in {self._delay:g} s"
                )
                await self._sleep(self._delay)
                self._delay = min(2 * self._delay, _LONGEST_DELAY_SECONDS)
            except psycopg.Error as error:
                raise ConfigurationError(
                    f"PostgreSQL at {self._address} refuses: {_sentence(error)}"
                ) from None
            except OffsetOutOfRangeError:
                self._listener.on_trouble("what was to be read next is gone; looking what is left")
            except SetBack:
                self._listener.on_trouble("the database was set back; reading what it lacks again")

    async def _session(self, once: bool) -> bool:
        """Writes over one connection; whether all is done."""
        async with (
            MetricsStore.open(self._address) as store,
            MetricsLog.open(self._settings) as log,
        ):
            if store.made_tables:
                self._listener.on_trouble(f"made the tables {', '.join(store.made_tables)}")
            ends = await self._take_up(store, log)
            self._has_written = True
            while not log.has_grown:
                if batches := await log.read():
                    new = await store.write(log.topic, batches)
                    self._count(new_records=len(new), until=[r.window_end for r in new])
                self._tell_unreadable(log)
                if once and all([await log.position(n) >= end for n, end in ends.items()]):
                    return True
            return False

    async def _take_up(self, store: MetricsStore, log: MetricsLog) -> dict[int, int]:
        """Reads on where the rows end; the log's end as it is now."""
        found = await store.take_up(log.topic, await log.starts())
        ends = await log.ends()
        for number, (offset, gone) in found.items():
            if gone:
                self._listener.on_trouble(
                    f"{log.topic.name}/{number}: {gone:,} offsets were deleted by the topic's "
                    "retention before they were read"
                )
            if offset > ends[number]:
                raise ConfigurationError(
                    f"{log.topic.name}/{number} ends at offset {ends[number]:,}, but the database "
                    f"has its records up to {offset:,}: the log was cut off. Set next_offset in "
                    "adapter_metrics_offsets to where reading shall go on."
                )
        log.seek({number: offset for number, (offset, _) in found.items()})
        return ends

    def _count(self, new_records: int, until: list[datetime]) -> None:
        self._delay = _FIRST_DELAY_SECONDS
        self.progress.records += new_records
        known = [self.progress.until] if self.progress.until else []
        self.progress.until = max([*known, *until], default=None)
        self._listener.on_progress(self.progress)

    def _tell_unreadable(self, log: MetricsLog) -> None:
        for sentence in log.unreadable:
            self._listener.on_trouble(f"left out, as it can't be read: {sentence}")
        self.progress.unreadable += len(log.unreadable)
        log.unreadable.clear()


def _sentence(error: psycopg.Error) -> str:
    """libpq's message on one line; it names hosts, users and databases, but no password."""
    return " ".join(str(error).split()) or type(error).__name__
