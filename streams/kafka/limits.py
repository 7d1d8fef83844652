"""How large a record may be: what we were told, and what brokers have refused since."""

import logging
from collections.abc import Sequence

from schemas.errors import RecordTooLarge
from streams.kafka.output import Output

log = logging.getLogger(__name__)


class SizeLimits:
    """The limits in bytes of one process, by topic; they only ever fall.

    A topic's `max.message.bytes` is no client's to know: reading it takes a right of its own, and
    it may change at any time. So a refusal teaches it. A broker measures whole batches: where one
    of several records is refused, it is the batch that has to be smaller.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: dict[str, int] = {}
        self._batches: dict[str, int] = {}

    def check(self, outputs: Sequence[Output]) -> None:
        """Raises: RecordTooLarge where an output has more bytes than its topic takes."""
        for output in outputs:
            limit = self._records.get(output.topic, self._most)
            if output.size > limit:
                raise RecordTooLarge(output.size, limit)

    def fit(self, outputs: Sequence[Output]) -> bool:
        """Whether `check` has nothing against them."""
        try:
            self.check(outputs)
        except RecordTooLarge:
            return False
        return True

    def fitting(self, outputs: Sequence[Output]) -> list[Output]:
        """Those that their topics take; what is left out is told in the log.

        For the answer to what was too large already: nothing smaller can be said of it.
        """
        fitting = []
        for output in outputs:
            if self.fit([output]):
                fitting.append(output)
            else:
                key = (output.key or b"").decode(errors="backslashreplace")
                log.error(
                    "%s does not take %d bytes: what was to be kept there of %.100r is lost",
                    output.topic,
                    output.size,
                    key,
                )
        return fitting

    def batch(self, topic: str) -> int:
        """How many bytes of records go into one batch, at most; one record always does."""
        return self._batches.get(topic, self._most)

    def refused(self, topic: str, records: int, size: int) -> None:
        """Takes note that the topic does not take a batch of so many records and bytes."""
        if records == 1:
            self._records[topic] = min(size - 1, self._records.get(topic, self._most))
        else:
            self._batches[topic] = min(size // 2, self.batch(topic))
