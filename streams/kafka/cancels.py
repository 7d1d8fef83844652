"""Which queries were taken back: the cancels topic, read by every router and worker."""

import logging
from collections import OrderedDict
from collections.abc import Callable

from schemas.codec import Codec
from schemas.errors import Cancelled, DecodeError
from schemas.records import Cancel
from streams.kafka.settings import KafkaSettings
from streams.kafka.table import TableReader

log = logging.getLogger(__name__)

#: Cancels that are remembered, for queries that come after them; the topic keeps an hour.
_MOST = 100_000


class Cancellations:
    """The queries that nobody wants an answer to any more, by their ids."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._codec = codec
        self._on_cancel: Callable[[str, Cancelled], None] = lambda query_id, error: None
        self._known: OrderedDict[str, Cancelled] = OrderedDict()
        self._reader = TableReader(settings, [settings.topics.cancels], self._on_record)

    def listen(self, on_cancel: Callable[[str, Cancelled], None]) -> None:
        """Whom to tell of a cancel: its query's id, and the error that the query ends with."""
        self._on_cancel = on_cancel

    async def start(self) -> None:
        """Returns when the cancels of the last hour are known. Raises: KafkaError."""
        await self._reader.start()

    async def stop(self) -> None:
        """Ends following."""
        await self._reader.stop()

    def check(self, query_id: str | None) -> None:
        """Raises: Cancelled where the query was taken back."""
        known = self._known.get(query_id) if query_id else None
        if known is not None:
            raise known.with_traceback(None)

    def _on_record(self, topic: str, key: bytes, value: bytes | None, offset: int) -> None:
        if value is None:
            return
        try:
            cancel = self._codec.decode(Cancel, value)
        except DecodeError as error:
            log.error("%s@%d cancels nothing: %s", topic, offset, error)
            return
        why = f": {cancel.reason}" if cancel.reason else "."
        ending = Cancelled(f"The query was cancelled{why}")
        self._known[cancel.query_id] = ending
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        self._on_cancel(cancel.query_id, ending)
