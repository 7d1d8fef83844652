"""Counts of recent scores, by bin."""

from streams.selection.stability import ScoreBins

#: A window slides by this part of itself.
SLICES = 12


class WindowCounts:
    """Counts by bin over a window of ``SLICES`` slices, which have rising numbers.

    Written by one thread; any other may read meanwhile.
    """

    __slots__ = ("_numbers", "_slices", "bins")

    def __init__(self, bins: ScoreBins) -> None:
        self.bins = bins
        self._numbers = [-SLICES] * SLICES
        self._slices = [[0] * len(bins.counts) for _ in range(SLICES)]

    def add(self, score: float, number: int) -> None:
        """Counts a score in the slice of that number."""
        slot = number % SLICES
        if self._numbers[slot] != number:
            self._slices[slot] = [0] * len(self.bins.counts)
            self._numbers[slot] = number
        self._slices[slot][self.bins.place(score)] += 1

    def counts(self, number: int) -> list[int]:
        """The counts of the window whose newest slice has that number."""
        open_slices = [
            counts
            for counts, of in zip(self._slices, self._numbers, strict=True)
            if number - SLICES < of <= number
        ]
        none = [0] * len(self.bins.counts)
        return [sum(column) for column in zip(none, *open_slices, strict=True)]
