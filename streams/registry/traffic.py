"""How a family's sessions are shared out over its versions: which one gets which. Pure.

A session is a point, by a hash of the family and its name, among POINTS; each share of a split
owns ranges of them. When a split changes, a share that shrinks gives points away and one that
grows takes just those, so the sessions that change their version are as few as can be: their part
is the total variation distance of the two splits, below which no assignment can come (the coupling
inequality: Levin, Peres, Wilmer, Markov Chains and Mixing Times, proposition 4.7). Weighted
rendezvous hashing needs no ranges, but moves more as soon as there are three shares: from 50:50:0
to 50:0:50 two thirds of the sessions instead of half (Moulton, Jiang: Maximally consistent
sampling and the Jaccard index of probability distributions, ICDM 2018). Hashing by family as well
keeps the splits of two families independent of each other (Tang et al.: Overlapping experiment
infrastructure, KDD 2010).
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from schemas.records import TrafficShare

POINTS: Final = 1_000_000
"""Into how many parts the sessions of a family are cut."""

_Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Split:
    """Shares that cover all points: ``owners[i]`` has those from ``bounds[i]`` on."""

    family: str
    shares: tuple[TrafficShare, ...]
    bounds: tuple[int, ...]
    owners: tuple[TrafficShare, ...]

    @classmethod
    def of(cls, family: str, shares: Sequence[TrafficShare]) -> "Split | None":
        """The split as its record tells; None where no share has a weight.

        Shares whose ranges leave a gap or overlap are laid out anew, by their weights.
        """
        laid = tuple(share for share in shares if share.weight > 0 and math.isfinite(share.weight))
        if not laid:
            return None
        if not _covers(laid):
            laid = laid_out(laid)
        owned = sorted((first, share) for share in laid for first, _ in _ranges(share))
        return cls(family, laid, tuple(s for s, _ in owned), tuple(o for _, o in owned))

    def share_of(self, session: str, takes: Callable[[str], bool]) -> TrafficShare | None:
        """The share that ``session`` falls into, of those whose version ``takes`` accepts.

        None where it accepts none that owns a point. What falls to another one is shared out among
        those accepted, by their weights: the others keep their sessions.
        """
        found = self._at(_point(self.family, session, 0, POINTS))
        if takes(found.adapter):
            return found
        left = [range_ for range_ in self._owned() if takes(range_[2].adapter)]
        if not left:
            return None
        point = _point(self.family, session, 1, sum(end - first for first, end, _ in left))
        for first, end, share in left:
            if point < end - first:
                return share
            point -= end - first
        raise AssertionError("the ranges add up to all points")

    def _at(self, point: int) -> TrafficShare:
        return self.owners[bisect_right(self.bounds, point) - 1]

    def _owned(self) -> Iterable[tuple[int, int, TrafficShare]]:
        ends = (*self.bounds[1:], POINTS)
        return zip(self.bounds, ends, self.owners, strict=True)


def laid_out(
    shares: Sequence[TrafficShare], before: Sequence[TrafficShare] = ()
) -> tuple[TrafficShare, ...]:
    """The shares with their ranges, which differ from those of ``before`` as little as can be.

    Weights must be above 0; a version has one share.
    """
    wanted = _points_by_weight(shares)
    held = {share.adapter: _ranges(share) for share in before} if _covers(before) else {}
    kept = [_first_of(held.get(share.adapter, ()), wanted[i]) for i, share in enumerate(shares)]
    free = _gaps(range_ for ranges in kept for range_ in ranges)
    laid = []
    for share, points, ranges in zip(shares, wanted, kept, strict=True):
        taken, free = _taken(free, points - _size(ranges))
        flat = [bound for range_ in _joined([*ranges, *taken]) for bound in range_]
        laid.append(replace(share, ranges=tuple(flat)))
    return tuple(laid)


def is_among(family: str, session: str, percent: float) -> bool:
    """Whether a session is one of so many percent of a family's; of more, it is so, too."""
    return _point(family, session, 0, POINTS) * 100 < percent * POINTS


def moved(before: Sequence[TrafficShare], after: Sequence[TrafficShare]) -> float:
    """The least part of the sessions that must change: the splits' total variation distance."""
    old, new = _fractions(before), _fractions(after)
    return sum(max(0.0, part - old.get(adapter, 0.0)) for adapter, part in new.items())


def _fractions(shares: Sequence[TrafficShare]) -> dict[str, float]:
    total = sum(share.weight for share in shares)
    return {share.adapter: share.weight / total for share in shares}


def _point(family: str, session: str, draw: int, points: int) -> int:
    """A number from 0 up to ``points``, not including it; another one for each ``draw``."""
    named = b"\0".join((family.encode(), session.encode(errors="surrogatepass"), b"%d" % draw))
    number = int.from_bytes(blake2b(named, digest_size=8).digest())
    return number * points >> 64


def _points_by_weight(shares: Sequence[TrafficShare]) -> list[int]:
    """Whole points by weight that add up to all: what is left goes to the largest remainders."""
    most = max(share.weight for share in shares)  # weights near the largest float may not add up
    parts = [share.weight / most for share in shares]
    total = math.fsum(parts)
    exact = [part / total * POINTS for part in parts]
    whole = [int(points) for points in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: POINTS - sum(whole)]:
        whole[i] += 1
    return whole


def _ranges(share: TrafficShare) -> tuple[_Range, ...]:
    return tuple(zip(share.ranges[::2], share.ranges[1::2], strict=False))


def _covers(shares: Sequence[TrafficShare]) -> bool:
    """Whether the ranges of the shares hold every point just once."""
    if any(len(share.ranges) % 2 for share in shares):
        return False
    ranges = sorted(range_ for share in shares for range_ in _ranges(share))
    if not ranges or ranges[0][0] != 0 or ranges[-1][1] != POINTS:
        return False
    follow = all(one[1] == other[0] for one, other in pairwise(ranges))
    return follow and all(first < end for first, end in ranges)


def _size(ranges: Iterable[_Range]) -> int:
    return sum(end - first for first, end in ranges)


def _first_of(ranges: Sequence[_Range], points: int) -> list[_Range]:
    return _taken(list(ranges), points)[0]


def _taken(ranges: list[_Range], points: int) -> tuple[list[_Range], list[_Range]]:
    """The first ``points`` of the ranges, or all there are, and the rest."""
    taken = []
    for number, (first, end) in enumerate(ranges):
        if points <= end - first:
            cut = first + points
            taken += [(first, cut)] if points else []
            return taken, [(cut, end)] * (cut < end) + ranges[number + 1 :]
        taken.append((first, end))
        points -= end - first
    return taken, []


def _gaps(ranges: Iterable[_Range]) -> list[_Range]:
    """What the ranges leave of all points."""
    gaps, reached = [], 0
    for first, end in sorted(ranges):
        if first > reached:
            gaps.append((reached, first))
        reached = end
    return [*gaps, (reached, POINTS)] if reached < POINTS else gaps


def _joined(ranges: Sequence[_Range]) -> list[_Range]:
    """The ranges in order, neighbours as one."""
    joined: list[_Range] = []
    for first, end in sorted(ranges):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined
