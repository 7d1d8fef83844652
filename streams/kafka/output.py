"""One record that a transaction produces, and the headers that all of ours carry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.errors import RecordTooLarge

#: A header's value may be null, as a record's key may.
Headers = Sequence[tuple[str, bytes | None]]

#: W3C Trace Context's header, passed on through every hop.
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
#: The dead letter that a record was written again from, and how often that has happened by now.
REDRIVEN_FROM = "lorelay.redriven.from"
REDRIVEN_COUNT = "lorelay.redriven.count"

_HANDED_ON = (TRACEPARENT, TRACESTATE, REDRIVEN_FROM, REDRIVEN_COUNT)
#: Far more than sound ones have: whatever else stands in their place, a response must fit.
_HANDED_ON_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Output:
    """A record to produce. Without `partition` the key decides, as in Kafka's own clients.

    Its time is `timestamp_ms` (since 1970), else that of producing it.

    An optional one is left out, with a warning, where there is no such topic or partition.
    `on_committed` is called once its transaction is.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Headers = field(default=())
    is_optional: bool = False
    timestamp_ms: int | None = None
    on_committed: Callable[[], None] | None = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return len(self.value or b"") + len(self.key or b"") + _size(self.headers)


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers)


def check_sizes(outputs: Sequence[Output], limit: int) -> None:
    """Raises: RecordTooLarge where an output has more than `limit` bytes."""
    for output in outputs:
        if output.size > limit:
            raise RecordTooLarge(output.size, limit)


def event_headers(kind: str, event_id: str, source: str, received: Headers = ()) -> Headers:
    """CloudEvents' Kafka binding (v1.0.2, binary mode), and what is handed on of the received.

    That is the trace context, and which dead letter it all began with; nothing where these have
    more than 8 KiB.

    `kind` is the record type's name; `source` the process that produced it.
    """
    headers: list[tuple[str, bytes | None]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", f"lorelay.{kind}".encode()),
    ]
    handed_on = [(name, value) for name, value in received if name in _HANDED_ON]
    return headers + handed_on if _size(handed_on) <= _HANDED_ON_BYTES else headers
