"""What is fitted for each adapter from its examples, its rivals' and the background."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schemas.records import Example
from streams.selection.background import Background
from streams.selection.calibration import CalibrationTexts, Thresholds, fit_thresholds
from streams.selection.head import Head, Heads, fit_head, folds, rivals_of
from streams.selection.index import Vectors
from streams.selection.scoring import scored


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What is kept of one adapter; ``examples`` has one for each row of ``vectors`` (m, d).

    ``centre`` (d,) is the direction of their mean. ``texts`` are those that stand for its queries,
    with their likeness; ``listed`` are the languages it says it answers in, ``languages`` those
    and its examples'.
    """

    examples: tuple[Example, ...]
    vectors: Vectors
    centre: Vectors
    texts: CalibrationTexts
    listed: frozenset[str]
    languages: frozenset[str]


def centre_of(vectors: Vectors) -> Vectors:
    """The direction of the mean of vectors (m, d), (d,)."""
    mean = vectors.mean(axis=0)
    centre: Vectors = mean / max(float(np.linalg.norm(mean)), np.finfo(np.float32).tiny)
    return centre


@dataclass(frozen=True, slots=True)
class Fitted:
    """What follows from an adapter's examples and its rivals'; ``texts`` with their scores."""

    learnt: Learnt
    rivals: tuple[Learnt, ...]
    head: Head
    texts: CalibrationTexts
    thresholds: Thresholds


def fit_all(
    learnt: Sequence[Learnt],
    known: Iterable[Fitted],
    background: Background,
    false_reject: float,
    before_each: Callable[[], None],
) -> list[Fitted]:
    """One for each adapter, in order; what is ``known`` stays where its rivals are the same.

    Takes about 0.1 s for each one that is fitted, and calls ``before_each`` some times meanwhile.
    """
    if not learnt:
        return []
    before = {(one.learnt, one.rivals): one for one in known}
    fitted = []
    for own, rows in zip(learnt, rivals_of(np.stack([x.centre for x in learnt])), strict=True):
        rivals = tuple(learnt[row] for row in rows)
        kept = before.get((own, rivals))
        if kept is None:
            before_each()
            kept = _fit(own, rivals, background, false_reject, before_each)
        fitted.append(kept)
    return fitted


def _fit(
    own: Learnt,
    rivals: tuple[Learnt, ...],
    background: Background,
    false_reject: float,
    before_each: Callable[[], None],
) -> Fitted:
    others = [rival.vectors for rival in rivals]
    head = fit_head(own.vectors, others, background.vectors, before_each)
    rows = own.texts.rows
    logits = Heads.of([head]).logits(own.vectors[rows], folds(len(own.vectors))[rows])
    texts = replace(own.texts, scores=scored(own.texts.scores, logits[:, 0]))
    thresholds = fit_thresholds(texts.scores, texts.languages, background.translation, false_reject)
    return Fitted(own, rivals, head, texts, thresholds)
