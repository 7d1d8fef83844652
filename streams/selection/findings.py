"""What an audit of adapters' examples finds, each with what to do about it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: From this share of strayed or doubled examples on, two adapters are hardly told apart.
_HARDLY_APART: Final = 0.5


@dataclass(frozen=True, slots=True)
class Twins:
    """An example of each of two adapters; ``similarity`` is their cosine, near 1."""

    one: str
    other: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two adapters whose examples overlap.

    ``strayed`` is the share of ``adapter``'s examples that lie nearer to ``other`` than to their
    own, ``strayed_back`` the same the other way round, ``doubled`` the share of ``adapter``'s that
    ``other`` has nearly word for word, ``twins`` the most alike of those.
    """

    adapter: str
    other: str
    strayed: float
    strayed_back: float
    doubled: float
    twins: tuple[Twins, ...]

    @property
    def extent(self) -> float:
        """The greatest of the shares, within 0..1."""
        return max(self.strayed, self.strayed_back, self.doubled)

    @property
    def advice(self) -> str:
        """What to do."""
        if self.extent >= _HARDLY_APART:
            return (
                "Selection can hardly tell them apart: make one adapter of both, or decide which "
                "of them takes this kind of query and remove it from the other's examples."
            )
        if self.doubled > max(self.strayed, self.strayed_back):
            return "Keep what both have nearly word for word in the one that should answer it."
        return (
            "Move the examples that stray to the adapter that should answer them, or give the "
            "right one more examples like them."
        )


@dataclass(frozen=True, slots=True)
class Strayed:
    """An example that lies nearer to another adapter than to the other examples of its own."""

    adapter: str
    text: str
    language: str | None
    own_score: float
    other: str
    other_score: float
    nearest_there: str

    @property
    def advice(self) -> str:
        """What to do."""
        return (
            f"Move it to {self.other} if that should answer it; "
            f"else give {self.adapter} more examples like it."
        )


@dataclass(frozen=True, slots=True)
class TooFew:
    """A language in which an adapter has too few examples; ``needed`` more would be enough.

    ``language`` is None where all its examples together are too few to be chosen at all.
    """

    adapter: str
    language: str | None
    count: int
    needed: int

    @property
    def advice(self) -> str:
        """What to do."""
        if self.language is None:
            return f"It is never chosen: nothing shows how near is near. Add {self.needed} or more."
        if self.count == 0:
            return (
                f"It lists {self.language} but shows none of it: add {self.needed} examples, or "
                f"take {self.language} off its languages."
            )
        return f"Its threshold for {self.language} is a guess: add {self.needed} or more."


@dataclass(frozen=True, slots=True)
class LooseThreshold:
    """An adapter whose thresholds let queries of no particular topic pass: ``passed`` of them.

    ``threshold`` is the lowest of those that the adapter has in its own languages.
    """

    adapter: str
    threshold: float
    passed: float

    @property
    def advice(self) -> str:
        """What to do."""
        return (
            "Its examples resemble each other so little that nearly everything resembles them: "
            "remove those that are off its topic, add more on it, or split it by topic."
        )


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings, the worst first; ``adapters`` are sorted.

    ``overlap`` (adapters, adapters) is the share of the row's examples that lie nearer to the
    column than to their own adapter, 0 on the diagonal. ``compared`` of the ``examples`` were
    looked at.
    """

    adapters: tuple[str, ...]
    overlap: NDArray[np.float64]
    compared: int
    examples: int
    overlaps: tuple[Overlap, ...]
    strayed: tuple[Strayed, ...]
    too_few: tuple[TooFew, ...]
    loose: tuple[LooseThreshold, ...]
