"""Which offsets of a partition are finished when work ends out of order. Pure.

The committed offset is the oldest unfinished one; the finished offsets beyond it travel as a
bitmap in the offset commit's metadata, so a restart repeats nothing and waits for nothing.

Offsets that are never delivered (transaction markers, aborted or compacted records) count as
finished as soon as a later offset of the same fetch position is delivered; else the committed
offset would stick at the first of them.
"""

import base64
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Self

#: The broker's default `offset.metadata.max.bytes`.
METADATA_MAX_BYTES = 4096
_FORMAT = "b1:"
#: Widest bitmap, in offsets, that fits the metadata as base64 (6 bits a byte).
MAX_SPAN = (METADATA_MAX_BYTES - len(_FORMAT)) // 4 * 3 * 8


class MetadataInvalid(ValueError):
    """The metadata of an offset commit is not a bitmap that this module wrote."""


class OffsetBeyondLog(ValueError):
    """The committed offset lies past the end of the log: the log was lost or replaced."""


@dataclass(frozen=True, slots=True)
class Committed:
    """An offset commit: the oldest unfinished offset, and the bitmap beyond it."""

    offset: int
    metadata: str = ""


class OffsetWindow:
    """The delivered and finished offsets of one partition during one assignment.

    Offsets are delivered in rising order, from `position` on, and finish in any order.
    """

    def __init__(self, position: int = 0, finished_beyond: frozenset[int] = frozenset()) -> None:
        self._unfinished: OrderedDict[int, None] = OrderedDict()
        self._next = position
        self._recovered = deque(sorted(known for known in finished_beyond if known >= position))

    @classmethod
    def restore(cls, committed: Committed | None, log_start: int, log_end: int) -> tuple[Self, int]:
        """The window as the last owner committed it, and how many unfinished offsets retention
        has deleted since then.

        Raises: MetadataInvalid; OffsetBeyondLog where `committed` is past `log_end`.
        """
        if committed is None:
            return cls(log_start), 0
        if committed.offset > log_end:
            raise OffsetBeyondLog(
                f"committed offset {committed.offset} is past the log's end {log_end}"
            )
        finished = decode_bitmap(committed.offset, committed.metadata)
        if committed.offset >= log_start:
            return cls(committed.offset, finished), 0
        deleted = log_start - committed.offset
        deleted_finished = sum(1 for offset in finished if offset < log_start)
        return cls(log_start, finished), deleted - deleted_finished

    @property
    def position(self) -> int:
        """The oldest offset that is not finished: what to commit, and where to fetch from."""
        return next(iter(self._unfinished), self._next)

    @property
    def next_offset(self) -> int:
        """One past the newest delivered offset."""
        return self._next

    @property
    def span(self) -> int:
        """Offsets between the oldest unfinished and the newest known one."""
        newest = self._recovered[-1] + 1 if self._recovered else 0
        return max(self._next, newest) - self.position

    @property
    def unfinished(self) -> int:
        """How many delivered offsets are not finished."""
        return len(self._unfinished)

    def fits(self, offset: int) -> bool:
        """Whether the commit's metadata would have room for `offset`, were it delivered now."""
        return not self._unfinished or offset - self.position < MAX_SPAN

    def deliver(self, offset: int) -> bool:
        """Takes note of a fetched offset; True where its record is to be worked on."""
        if offset < self._next:
            return False
        self._next = offset + 1
        while self._recovered and self._recovered[0] <= offset:
            if self._recovered.popleft() == offset:
                return False
        self._unfinished[offset] = None
        return True

    def is_unfinished(self, offset: int) -> bool:
        """Whether the offset was delivered in this assignment and is not finished."""
        return offset in self._unfinished

    def finish(self, offset: int) -> None:
        """Marks a delivered offset as finished.

        Raises: KeyError where it was not delivered or is finished already.
        """
        del self._unfinished[offset]

    def committed(self) -> Committed:
        """What to commit now. Raises: OverflowError past MAX_SPAN (pause before that)."""
        return Committed(self.position, self._encode_bitmap())

    def _encode_bitmap(self) -> str:
        position = self.position
        span = self.span
        if span > MAX_SPAN:
            raise OverflowError(f"{span} offsets do not fit an offset commit; at most {MAX_SPAN}")
        delivered = self._next - position
        if not self._unfinished and not self._recovered:
            return ""
        bits = bytearray(-(-span // 8))
        _set_range(bits, delivered)
        for offset in self._unfinished:
            index = offset - position
            bits[index >> 3] &= ~(1 << (index & 7)) & 0xFF
        for offset in self._recovered:
            index = offset - position
            bits[index >> 3] |= 1 << (index & 7)
        while bits and not bits[-1]:
            bits.pop()
        return _FORMAT + base64.b64encode(bits).decode("ascii") if bits else ""


def _set_range(bits: bytearray, count: int) -> None:
    whole, rest = divmod(count, 8)
    bits[:whole] = b"\xff" * whole
    if rest:
        bits[whole] |= (1 << rest) - 1


def decode_bitmap(position: int, metadata: str) -> frozenset[int]:
    """The finished offsets beyond `position`. Raises: MetadataInvalid."""
    if not metadata:
        return frozenset()
    if not metadata.startswith(_FORMAT):
        raise MetadataInvalid(f"unknown format {metadata[:8]!r} of offset metadata")
    try:
        bits = base64.b64decode(metadata[len(_FORMAT) :], validate=True)
    except ValueError as error:
        raise MetadataInvalid(f"offset metadata is not base64: {error}") from error
    return frozenset(
        position + (index << 3) + bit
        for index, byte in enumerate(bits)
        if byte
        for bit in range(8)
        if byte >> bit & 1
    )
