"""Texts whose right adapter is known, with all adapters: kept in step, not made anew."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.selection.background import Background, centred
from streams.selection.calibration import CalibrationTexts, calibration_texts
from streams.selection.centroids import axes_of
from streams.selection.head import Heads, fit_head, folds
from streams.selection.index import NOT_COMPARED, ExampleIndex, Vectors
from streams.selection.probes import NOBODY, Probes, ProbeScores, Texts
from streams.selection.scoring import scored
from tests.unit.streams.selection.topics import TopicEncoder

ENCODER = TopicEncoder()
BACKGROUND = Background.encoded_by(ENCODER)
NOTHING = ExampleIndex(axes_of(BACKGROUND.vectors))


class Known:
    """An index and its probes, changed step by step."""

    def __init__(self) -> None:
        self.index = NOTHING
        self.texts: dict[str, CalibrationTexts] = {}
        self.probes = Probes.none(NOTHING)

    def change(self, sizes: dict[str, int]) -> "Known":
        """Other examples for some adapters; none with 0."""
        vectors: dict[str, Vectors | None] = {}
        for adapter, size in sizes.items():
            self.texts.pop(adapter, None)
            vectors[adapter] = None
            if size:
                own = ENCODER.encode([f"{adapter} {number}" for number in range(size)])
                vectors[adapter] = centred(own, BACKGROUND.centre)
                held_out = np.zeros(size, bool)
                self.texts[adapter] = calibration_texts(vectors[adapter], ["en"] * size, held_out)
        self.index = self.index.changed(vectors)
        self.probes = self.probes.changed(self.index, self.texts, BACKGROUND, lambda: None)
        return self

    @property
    def heads(self) -> Heads:
        """A classifier for each adapter, without rivals."""
        vectors = [segment.vectors for segment in self.index.segments]
        return Heads.of([fit_head(own, [], BACKGROUND.vectors) for own in vectors])

    @property
    def scored(self) -> ProbeScores:
        return self.probes.scored(self.heads)


KNOWN = Known().change({"law": 40, "music": 20, "medicine": 7})


def test_scores_are_those_of_the_adapters_but_without_the_text_itself() -> None:
    known = Known().change({"law": 30, "music": 12, "tiny": 1})
    found, law = known.scored, known.index.segments[0].vectors
    rows = np.flatnonzero(found.owners == 0)
    logits = known.heads.logits(law, folds(30))
    assert found.scores[rows, 0] == pytest.approx(
        scored(known.texts["law"].scores, logits[:, 0]), abs=1e-5
    )
    others = scored(known.index.scores(law)[:, 1:], logits[:, 1:])
    assert found.scores[rows, 1:] == pytest.approx(others, abs=1e-5)


def test_the_background_is_nobodys() -> None:
    known = Known().change({"law": 30, "music": 12})
    found = known.scored
    rows = np.flatnonzero(found.owners == NOBODY)
    parts = folds(len(BACKGROUND.vectors))
    expected = scored(
        known.index.scores(BACKGROUND.vectors), known.heads.logits(BACKGROUND.vectors, parts)
    )
    assert found.scores[rows] == pytest.approx(expected, abs=1e-5)
    assert [found.languages[row] for row in rows] == list(BACKGROUND.languages)


def test_guesses_tell_an_adapters_texts_from_others_without_themselves() -> None:
    found = Known().change({"law": 30, "music": 30}).scored
    rows = np.flatnonzero(found.owners != NOBODY)
    own = found.guesses[rows, found.owners[rows]]
    assert own.mean() > found.guesses[rows, 1 - found.owners[rows]].mean() + 0.3
    assert (own < 1.0).all()


def test_off_topic_each_text_is_without_its_adapter() -> None:
    away = Known().change({"law": 30, "music": 12}).scored.off_topic()
    assert len(away.scores) == len(away.languages) == 42
    assert (away.owners == NOBODY).all()
    assert (away.scores[:30, 0] == NOT_COMPARED).all()
    assert (away.guesses[30:, 1] == NOT_COMPARED).all()
    assert (away.scores[:30, 1] > NOT_COMPARED).all()


@given(st.data())
def test_a_text_is_compared_in_the_same_row_of_a_batch_whatever_is_beside_it(
    data: st.DataObject,
) -> None:
    texts = KNOWN.probes.texts
    everywhere = np.arange(len(texts.keys))
    rows = data.draw(st.lists(st.sampled_from(everywhere.tolist()), unique=True))
    expected = dict(_places(texts, everywhere))
    assert dict(_places(texts, np.array(rows, np.intp))) == {row: expected[row] for row in rows}


def _places(texts: Texts, rows: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Each row and its place, once the batch is found to hold that and nothing else."""
    for now, places, batch in texts.batches(rows):
        assert (batch[places] == texts.vectors[now]).all()
        assert not np.delete(batch, places, axis=0).any()
        yield from zip(now.tolist(), places.tolist(), strict=True)


steps = st.lists(
    st.dictionaries(
        st.sampled_from(["law", "music", "medicine", "sports"]), st.integers(0, 40), min_size=1
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_changed_step_by_step_they_are_as_made_at_once(changes: list[dict[str, int]]) -> None:
    stepwise, sizes = Known(), {}
    for change in changes:
        stepwise.change(change)
        sizes |= change
    at_once = Known().change({adapter: size for adapter, size in sizes.items() if size})
    one, other = stepwise.probes, at_once.probes
    assert one.texts.keys == other.texts.keys
    assert one.texts.languages == other.texts.languages
    assert (one.texts.owners == other.texts.owners).all()
    assert (one.likeness == other.likeness).all()
