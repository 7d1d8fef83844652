"""Whether the adapters' examples can be told apart, and are enough. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.selection.background import Background
from streams.selection.calibration import MIN_SCORES
from streams.selection.comparison import Compared, compared
from streams.selection.findings import Audit, LooseThreshold, Overlap, Strayed, TooFew, Twins
from streams.selection.head import Heads, folds
from streams.selection.index import likeness
from streams.selection.material import Material
from streams.selection.scoring import scored

#: Examples that differ in no more than spelling or a word lie above it (USE multilingual).
_TWIN_SIMILARITY: Final = 0.95
_SHOWN_TWINS: Final = 5

#: Any two adapters that have a topic in common lose some examples to each other.
_MIN_OVERLAP: Final = 0.05

#: Of the queries of no topic, a threshold that means something rejects more than half.
_LOOSE: Final = 0.5

#: A detected language with a smaller share of an unlisted adapter's examples is taken for a slip.
_MIN_LANGUAGE_SHARE: Final = 0.1

Materials = Mapping[str, Material]
Progress = Callable[[int, int], None]
Shares = NDArray[np.float64]


def audit(
    materials: Materials, background: Background, progress: Progress = lambda done, total: None
) -> Audit:
    """Compares every adapter's examples with every other's; there must be an adapter.

    Exact up to 20,000 examples; of more, as many of each adapter are looked at and compared with
    all. ``progress`` is told how many adapters of how many are done.
    """
    adapters = tuple(sorted(materials))
    overlap, doubled = np.zeros((2, len(adapters), len(adapters)))
    strayed: list[Strayed] = []
    twins: dict[tuple[int, int], tuple[Twins, ...]] = {}
    looked_at = 0
    for i, block in enumerate(compared({a: materials[a].vectors for a in adapters})):
        looked_at += len(block.rows)
        overlap[i] = (block.scores > block.own[:, None]).mean(axis=0)
        doubled[i] = (block.closest >= _TWIN_SIMILARITY).mean(axis=0)
        strayed += _strayed(i, block, adapters, materials)
        for j in np.flatnonzero(doubled[i]).tolist():
            twins[i, j] = _twins(i, j, block, adapters, materials)
        progress(i + 1, len(adapters))
    return Audit(
        adapters,
        overlap,
        looked_at,
        sum(len(material.examples) for material in materials.values()),
        tuple(_overlaps(adapters, overlap, doubled, twins)),
        tuple(sorted(strayed, key=lambda found: found.own_score - found.other_score)),
        tuple(found for adapter in adapters for found in _too_few(adapter, materials[adapter])),
        tuple(sorted(_loose(adapters, materials, background), key=lambda found: -found.passed)),
    )


def _strayed(
    column: int, block: Compared, adapters: tuple[str, ...], materials: Materials
) -> Iterator[Strayed]:
    others = block.scores.argmax(axis=1)
    for i in np.flatnonzero(block.scores.max(axis=1) > block.own):
        example = materials[adapters[column]].examples[block.rows[i]]
        there = materials[adapters[others[i]]].examples[block.nearest[i, others[i]]]
        yield Strayed(
            adapters[column],
            example.text,
            example.language,
            float(block.own[i]),
            adapters[others[i]],
            float(block.scores[i, others[i]]),
            there.text,
        )


def _twins(
    one: int, other: int, block: Compared, adapters: tuple[str, ...], materials: Materials
) -> tuple[Twins, ...]:
    """The most alike of two adapters' examples, those that are nearly the same."""
    closest = block.closest[:, other]
    order = np.argsort(-closest, kind="stable")[:_SHOWN_TWINS]
    return tuple(
        Twins(
            materials[adapters[one]].examples[block.rows[i]].text,
            materials[adapters[other]].examples[block.nearest[i, other]].text,
            min(1.0, float(closest[i])),
        )
        for i in order
        if closest[i] >= _TWIN_SIMILARITY
    )


def _overlaps(
    adapters: tuple[str, ...],
    overlap: Shares,
    doubled: Shares,
    twins: Mapping[tuple[int, int], tuple[Twins, ...]],
) -> list[Overlap]:
    found = []
    for a, b in combinations(range(len(adapters)), 2):
        # From the side that has more to lose.
        lost = (overlap[a, b], doubled[a, b]), (overlap[b, a], doubled[b, a])
        one, other = (a, b) if lost[0] >= lost[1] else (b, a)
        if overlap[one, other] >= _MIN_OVERLAP or doubled[one, other]:
            found.append(
                Overlap(
                    adapters[one],
                    adapters[other],
                    float(overlap[one, other]),
                    float(overlap[other, one]),
                    float(doubled[one, other]),
                    twins.get((one, other), ()),
                )
            )
    return sorted(found, key=lambda pair: -pair.extent)


def _too_few(adapter: str, material: Material) -> Iterator[TooFew]:
    """Languages with fewer examples than a threshold of their own takes."""
    count = len(material.examples)
    if count < 2:
        yield TooFew(adapter, None, count, MIN_SCORES - count)
        return
    counts = Counter(example.language for example in material.examples)
    detected = {tag for tag, n in counts.items() if tag and n >= _MIN_LANGUAGE_SHARE * count}
    for language in sorted(material.listed or detected):
        if counts[language] < MIN_SCORES:
            yield TooFew(adapter, language, counts[language], MIN_SCORES - counts[language])


def _loose(
    adapters: tuple[str, ...], materials: Materials, background: Background
) -> Iterator[LooseThreshold]:
    spoken = np.array(background.languages)
    for adapter in adapters:
        material = materials[adapter]
        thresholds = material.thresholds
        own = material.listed.union(example.language or "" for example in material.examples)
        asked = np.isin(spoken, sorted(own))
        rows = np.flatnonzero(asked) if asked.any() else np.arange(len(spoken))
        bounds = np.array([thresholds.of(language) for language in spoken[rows]])
        near = likeness(background.vectors[rows] @ material.vectors.T)
        parts = folds(len(spoken))[rows]
        logits = Heads.of([material.head]).logits(background.vectors[rows], parts)
        scores = scored(near, logits[:, 0])
        passed = float((scores >= bounds).mean())
        if passed >= _LOOSE:
            yield LooseThreshold(adapter, float(bounds.min()), passed)
