"""Names like one that nobody knows, for whoever misspelt it. Pure.

It is the event loop that looks for them, for every query that misspells its adapter. difflib took
0.1 s among 1,000 adapters for each, so that a batch of such queries kept a router from its
heartbeats.
"""

from collections.abc import Sequence
from typing import Final

from rapidfuzz import fuzz, process

LONGEST: Final = 500
"""Characters of a name that is looked for, at most: a longer one is no adapter's, misspelt."""

_MOST: Final = 3
_LEAST_LIKENESS: Final = 60.0


def near_names(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Up to three of ``names``, the likest first; of equally like ones the first there.

    Likeness is twice the length of the longest common subsequence, of the length of both.
    """
    if len(name) > LONGEST:
        return ()
    found = process.extract(
        name, names, scorer=fuzz.ratio, score_cutoff=_LEAST_LIKENESS, limit=_MOST
    )
    return tuple(near for near, *_ in found)
