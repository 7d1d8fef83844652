"""Which queries were taken back: the cancels topic, read by every router and worker."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from schemas.codec import Codec
from schemas.errors import Cancelled, DecodeError
from schemas.records import Cancel, Query
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader

log = logging.getLogger(__name__)

#: Cancels that are remembered, for queries that come after them, and how long. The topic keeps
#: them as long at least: a broker removes whole segments.
_MOST: Final = 100_000
_REMEMBERED: Final = timedelta(hours=1)


class Cancellations:
    """The queries that nobody wants an answer to any more, by their ids and tenants."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._codec = codec
        self._clock = clock
        self._on_cancel: Callable[[Cancel, Cancelled], None] = lambda cancel, error: None
        #: By id and tenant, when it arrived (the clock's seconds) and why; the oldest first. Not
        #: the error itself: one that was raised holds on to all that it has passed.
        self._known: OrderedDict[tuple[str, str | None], tuple[float, str]] = OrderedDict()
        self._reader = TableReader(
            settings,
            [settings.topics.cancels],
            self._on_record,
            since=datetime.now(UTC) - _REMEMBERED,
        )

    def listen(self, on_cancel: Callable[[Cancel, Cancelled], None]) -> None:
        """Whom to tell of a cancel, and of the error that its query ends with."""
        self._on_cancel = on_cancel

    async def start(self) -> None:
        """Returns when the cancels of the last hour are known. Raises: KafkaError."""
        await self._reader.start()

    async def stop(self) -> None:
        """Ends following."""
        await self._reader.stop()

    def check(self, query: Query) -> None:
        """Raises: Cancelled where the query was taken back."""
        self._forget()
        if not query.id:
            return
        for tenant in (None, query.tenant):
            if (known := self._known.get((query.id, tenant))) is not None:
                raise Cancelled(known[1])

    def _on_record(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            return
        try:
            cancel = self._codec.decode(Cancel, value)
        except DecodeError as error:
            log.error("%s@%d cancels nothing: %s", topic, offset, error)
            return
        why = f": {cancel.reason}" if cancel.reason else "."
        ending = f"The query was cancelled{why}"
        taken_back = cancel.query_id, cancel.tenant
        self._known.pop(taken_back, None)
        self._known[taken_back] = self._clock(), ending
        self._forget()
        self._on_cancel(cancel, Cancelled(ending))

    def _forget(self) -> None:
        """Drops those that are too old, or too many."""
        oldest = self._clock() - _REMEMBERED.total_seconds()
        while self._known:
            arrived_at, _ = next(iter(self._known.values()))
            if arrived_at >= oldest and len(self._known) <= _MOST:
                break
            self._known.popitem(last=False)


def takes_back(cancel: Cancel, query: Query) -> bool:
    """Whether it is that query which the cancel means."""
    return cancel.query_id == query.id and cancel.tenant in (None, query.tenant)
