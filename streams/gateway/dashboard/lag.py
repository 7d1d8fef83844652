"""What a consumer group has yet to finish of a topic, in records. Pure.

The end of the log minus the committed offset, as Kafka's own tools have it, counts transaction
markers too, which are half of all offsets at a trickle, and all that is finished out of order
behind the oldest request. Here the records that were read are counted one by one.
"""

from collections import deque
from contextlib import suppress
from itertools import takewhile
from typing import Final

from streams.kafka.window import Committed, MetadataInvalid, decode_bitmap

_MOST: Final = 50_000


class Backlog:
    """One partition's records from where reading began."""

    def __init__(self, begin: int, log_start: int) -> None:
        self._begin = begin
        self._committed = Committed(log_start)
        self._seen: deque[int] = deque()

    def see(self, offset: int) -> None:
        """A record was read; in rising order."""
        self._seen.append(offset)
        if len(self._seen) > _MOST:
            self._begin = self._seen.popleft() + 1

    def skip(self, offset: int) -> None:
        """What lies before that offset is not read."""
        self._seen.clear()
        self._begin = offset

    def commit(self, committed: Committed) -> None:
        """What the group has finished."""
        self._committed = committed
        while self._seen and self._seen[0] < committed.offset:
            self._seen.popleft()

    @property
    def records(self) -> int:
        """How many are not finished; those that were not read are taken for one an offset."""
        offset = self._committed.offset
        unread = max(0, self._begin - offset)
        finished: frozenset[int] = frozenset()
        with suppress(MetadataInvalid):
            finished = decode_bitmap(offset, self._committed.metadata)
        unread -= sum(1 for known in finished if known < self._begin)
        last = max(finished, default=-1)
        done = sum(1 for seen in takewhile(last.__ge__, self._seen) if seen in finished)
        return max(0, unread) + len(self._seen) - done
