"""Where to begin reading a partition. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """Where reading begins, and whether that is later than was wished."""

    offset: int
    end: int
    is_late: bool


def position(
    first: int, end: int, at_time: int | None, *, least: int = 0, most: int = 2_000
) -> Position:
    """From the offset of some time on, or None for none since then: at most so many offsets, and
    at least so many where there are."""
    wished = end if at_time is None else at_time
    offset = max(first, end - most, min(wished, end - least))
    return Position(offset, end, is_late=offset > max(first, wished))
