"""How many dead letters there are, and the newest of them. Pure."""

from typing import Any, Final

from streams.gateway.dashboard.times import milliseconds
from streams.kafka.dead_letters.letter import DeadLetter

SHOWN: Final = 10
"""How many of the newest are shown."""

_MOST: Final = 5_000
_MESSAGE_CHARS: Final = 400


class Letters:
    """The dead letters that were read; without what is in them."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, bytes], dict[str, Any]] = {}
        self._is_cut = False

    def add(self, letter: DeadLetter) -> None:
        """A dead letter, or one that has changed: the newest of its origin counts."""
        place = letter.partition, letter.key
        self._rows.pop(place, None)
        self._rows[place] = {
            "origin": letter.origin,
            "since": milliseconds(letter.since),
            "category": letter.category,
            "code": letter.code,
            "message": letter.message[:_MESSAGE_CHARS],
            "query_id": letter.query_id,
            "adapter": letter.adapter,
            "redriven": letter.redriven_count,
        }
        if len(self._rows) > _MOST:
            del self._rows[next(iter(self._rows))]
            self._is_cut = True

    def purge(self, partition: int, key: bytes) -> None:
        """It is gone."""
        self._rows.pop((partition, key), None)

    def cut(self) -> None:
        """There are older ones, which were not read."""
        self._is_cut = True

    def summary(self) -> dict[str, Any]:
        """The count, whether there may be more, and the newest."""
        newest = sorted(self._rows.values(), key=lambda row: row["since"] or 0, reverse=True)
        return {"count": len(newest), "more": self._is_cut, "newest": newest[:SHOWN]}
