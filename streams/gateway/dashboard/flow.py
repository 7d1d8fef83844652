"""How many records come to a topic each second. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

SECONDS: Final = 120
"""How far back is counted."""

#: What a rate is the mean of: the newest seconds that are over, and that every record of is read.
_RATE_SECONDS: Final = 10
#: Records are fetched at least twice a second: so many of the newest seconds may lack some.
_OPEN_SECONDS: Final = 2
#: A producer's clock that differs by no more is believed, so that what is fetched together is not
#: counted together.
_TRUSTED_SECONDS: Final = 10.0


class Flow:
    """Records by topic and second; times in seconds since 1970."""

    def __init__(self, topics: Sequence[str], since: float) -> None:
        self.topics = tuple(topics)
        self._counts: Mapping[str, dict[int, int]] = {topic: {} for topic in topics}
        self._since = dict.fromkeys(topics, int(since))

    def add(
        self, topic: str, written_at: float, read_at: float, count: int = 1, *, is_old: bool = False
    ) -> None:
        """Counts records by their own time, or by that of their reading where it can't be.

        An old one was there before the reading began: its own time is all there is.
        """
        is_trusted = is_old or abs(read_at - written_at) <= _TRUSTED_SECONDS
        second = int(min(written_at, read_at) if is_trusted else read_at)
        counts = self._counts[topic]
        counts[second] = counts.get(second, 0) + count

    def begins(self, topic: str, at: float) -> None:
        """Not all was read of what came before."""
        self._since[topic] = max(self._since[topic], int(at) + 1)

    def series(self, topic: str, now: float) -> list[int | None]:
        """The count of each of the SECONDS before the present one; None where it is not known."""
        end = int(now)
        counts = self._counts[topic]
        for second in [second for second in counts if second < end - SECONDS]:
            del counts[second]
        since = self._since[topic]
        return [
            counts.get(second, 0) if second >= since else None
            for second in range(end - SECONDS, end)
        ]

    def rate(self, topic: str, now: float) -> float | None:
        """Records per second lately; None where too little is known."""
        series = self.series(topic, now)[:-_OPEN_SECONDS][-_RATE_SECONDS:]
        known = [count for count in series if count is not None]
        return sum(known) / len(known) if known else None
