"""Texts whose right adapter is known, each compared with all adapters: what is fitted on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from streams.selection.background import Background
from streams.selection.calibration import CalibrationTexts, evenly
from streams.selection.centroids import sketched
from streams.selection.head import Heads, folds
from streams.selection.index import NOT_COMPARED, ExampleIndex, Vectors, likeness
from streams.selection.scoring import scored

# Calibration texts that are compared with all adapters: of each, and of all together.
_MAX_TEXTS = 200
_MAX_TEXTS_IN_ALL = 1_000
# Texts compared at a time, always so many, and each always in the same row: the rounding of a
# product depends on its shape, with some kernels of BLAS (Haswell's) on the row as well, and
# nothing that is fitted may depend on the order of learning.
_AT_ONCE = 16

#: The owner of a text that belongs to no adapter.
NOBODY = -1


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """Scores of texts (t,) for all adapters, and ``guesses``: what their centroids give instead.

    Both are (t, adapters); ``owners`` are the columns of the texts' adapters, or ``NOBODY``. In
    the owner's column stands what it would be without the text itself.
    """

    owners: NDArray[np.intp]
    languages: tuple[str | None, ...]
    scores: Vectors
    guesses: Vectors

    def off_topic(self) -> "ProbeScores":
        """The adapters' texts without their adapters: off every topic that is left."""
        rows = np.flatnonzero(self.owners != NOBODY)
        scores, guesses = self.scores[rows], self.guesses[rows]
        own = np.arange(len(rows)), self.owners[rows]
        scores[own] = guesses[own] = NOT_COMPARED
        languages = tuple(self.languages[row] for row in rows)
        return ProbeScores(np.full(len(rows), NOBODY), languages, scores, guesses)


@dataclass(frozen=True, slots=True)
class Probes:
    """The background's texts and calibration texts of each adapter, with all adapters.

    ``likeness`` (2, t, adapters) is that to the nearest examples, exact, and to the nearest
    centroid; in the column of a text's own adapter both are without the text itself.
    """

    index: ExampleIndex
    texts: "Texts"
    likeness: Vectors

    @classmethod
    def none(cls, index: ExampleIndex) -> "Probes":
        """Nothing that is known, of an index without adapters."""
        rows, vectors = np.empty(0, np.intp), np.empty((0, len(index.axes)), np.float32)
        texts = Texts((), vectors, rows, rows, np.empty(0, np.float32), ())
        return cls(index, texts, np.empty((2, 0, 0), np.float32))

    def changed(
        self,
        index: ExampleIndex,
        texts: Mapping[str, CalibrationTexts],
        background: Background,
        before_each: Callable[[], None],
    ) -> "Probes":
        """Those of another index; what is known of adapters that stay isn't compared again.

        ``texts`` of each adapter have their likeness to it as scores. A change of one among 1,000
        adapters of 200 examples takes a tenth of a second, all anew take six; ``before_each`` is
        called before every few texts.
        """
        chosen = Texts.of(index, texts, background)
        rows, columns = self._rows(index, chosen.keys), self._columns(index)
        kept, fresh = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        stay, new = np.flatnonzero(columns >= 0), np.flatnonzero(columns < 0)
        both = np.empty((2, len(rows), len(columns)), np.float32)
        both[:, kept[:, None], stay] = self.likeness[:, rows[kept][:, None], columns[stay]]
        _compare(index, chosen, kept, new, both, before_each)
        _compare(index, chosen, fresh, np.arange(len(columns)), both, before_each)
        for owner in np.unique(chosen.owners[fresh][chosen.owners[fresh] != NOBODY]).tolist():
            own = fresh[chosen.owners[fresh] == owner]
            centroids = index.segments[owner].centroids
            both[0, own, owner] = chosen.own[own]
            for now, places, batch in chosen.batches(own):
                without = centroids.likeness_without(sketched(batch, index.axes))
                both[1, now, owner] = without[places]
        return Probes(index, chosen, both)

    def scored(self, heads: Heads) -> ProbeScores:
        """The scores with these classifiers, each text judged by those that have not seen it."""
        logits = heads.logits(self.texts.vectors, self.texts.parts)
        scores, guesses = (scored(values, logits) for values in self.likeness)
        return ProbeScores(self.texts.owners, self.texts.languages, scores, guesses)

    def _columns(self, index: ExampleIndex) -> NDArray[np.intp]:
        """For each adapter of the other index the column that it has here, or -1: (adapters,)."""
        here = {id(segment): column for column, segment in enumerate(self.index.segments)}
        return np.array([here.get(id(segment), -1) for segment in index.segments], np.intp)

    def _rows(self, index: ExampleIndex, keys: Sequence[tuple[str, int]]) -> NDArray[np.intp]:
        """For each text the row that it has here, or -1 where it or its adapter is new: (t,)."""
        stay = {index.adapters[place] for place in np.flatnonzero(self._columns(index) >= 0)}
        here = {key: row for row, key in enumerate(self.texts.keys) if key[0] in stay or not key[0]}
        return np.array([here.get(key, -1) for key in keys], np.intp)


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts to compare, (t,) and (t, d), the background's first.

    ``keys`` name each one by its adapter, "" for the background's, and its number there;
    ``parts`` are those of the classifiers, ``own`` is the likeness to the own adapter.
    """

    keys: tuple[tuple[str, int], ...]
    vectors: Vectors
    parts: NDArray[np.intp]
    owners: NDArray[np.intp]
    own: Vectors
    languages: tuple[str | None, ...]

    def batches(
        self, rows: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Vectors]]:
        """``rows`` in parts: these rows (k,), their places (k,) in a batch, and that: (16, d).

        The place of a text follows from its key alone; a place that nothing has is zeros.
        """
        keys = [self.keys[row] for row in rows.tolist()]
        places = np.array([_place(*key) for key in keys], np.intp)
        waiting = [rows[places == place] for place in range(_AT_ONCE)]
        for turn in range(max(map(len, waiting))):
            taken = np.array([place for place in range(_AT_ONCE) if turn < len(waiting[place])])
            now = np.array([waiting[place][turn] for place in taken])
            batch = np.zeros((_AT_ONCE, self.vectors.shape[1]), np.float32)
            batch[taken] = self.vectors[now]
            yield now, taken, batch

    @classmethod
    def of(
        cls, index: ExampleIndex, texts: Mapping[str, CalibrationTexts], background: Background
    ) -> "Texts":
        """Evenly many of each adapter, or one each of some where there are very many."""
        columns = evenly(np.arange(len(index.adapters)), _MAX_TEXTS_IN_ALL)
        most = min(_MAX_TEXTS, _MAX_TEXTS_IN_ALL // max(1, len(columns)))
        chosen = [cls._of_background(background)]
        chosen += [cls._of_adapter(index, column, texts, most) for column in columns.tolist()]
        return cls(
            tuple(key for part in chosen for key in part.keys),
            np.concatenate([part.vectors for part in chosen]),
            np.concatenate([part.parts for part in chosen]),
            np.concatenate([part.owners for part in chosen]),
            np.concatenate([part.own for part in chosen]),
            tuple(language for part in chosen for language in part.languages),
        )

    @classmethod
    def _of_background(cls, background: Background) -> "Texts":
        count = len(background.vectors)
        return cls(
            tuple(("", number) for number in range(count)),
            background.vectors,
            folds(count),
            np.full(count, NOBODY),
            np.full(count, NOT_COMPARED, np.float32),
            background.languages,
        )

    @classmethod
    def _of_adapter(
        cls, index: ExampleIndex, column: int, texts: Mapping[str, CalibrationTexts], most: int
    ) -> "Texts":
        adapter, vectors = index.adapters[column], index.segments[column].vectors
        own = texts[adapter]
        numbers = evenly(np.arange(len(own.rows)), most)
        rows = own.rows[numbers]
        return cls(
            tuple((adapter, number) for number in numbers.tolist()),
            vectors[rows],
            folds(len(vectors))[rows],
            np.full(len(rows), column),
            own.scores[numbers],
            tuple(own.languages[number] for number in numbers),
        )


def _place(adapter: str, number: int) -> int:
    """Spreads the texts of an adapter over a batch, and adapters of which one text is taken."""
    return (crc32(adapter.encode()) + number) % _AT_ONCE


def _compare(
    index: ExampleIndex,
    texts: Texts,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    likenesses: Vectors,
    before_each: Callable[[], None],
) -> None:
    """Writes how like these texts are to these adapters into (2, texts, adapters)."""
    if not len(columns):
        return
    both = np.empty((2, _AT_ONCE, len(columns)), np.float32)
    for now, places, batch in texts.batches(rows):
        before_each()
        sketches = sketched(batch, index.axes)
        for number, column in enumerate(columns.tolist()):
            segment = index.segments[column]
            both[0, :, number] = likeness(batch @ segment.vectors.T)
            both[1, :, number] = segment.centroids.likeness(sketches)
        likenesses[:, now[:, None], columns] = np.clip(both[:, places], -1.0, 1.0)
