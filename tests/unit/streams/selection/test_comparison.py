"""Examples against all adapters', themselves left out."""

import numpy as np
import pytest

from streams.selection import comparison
from streams.selection.comparison import compared
from streams.selection.index import nearest_mean
from tests.unit.streams.selection.topics import vectors

SEGMENTS = {"a": vectors(9, 1), "b": vectors(1, 2), "c": vectors(14, 3)}


@pytest.mark.parametrize("cosines", [1, 100, 1_000_000])
def test_it_is_what_comparing_one_by_one_gives(
    cosines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "_MAX_COSINES", cosines)
    for (name, segment), block in zip(SEGMENTS.items(), compared(SEGMENTS), strict=True):
        assert block.rows.tolist() == list(range(len(segment)))
        for row, vector in enumerate(segment):
            others = np.delete(segment, row, axis=0)
            own = nearest_mean((vector @ others.T)[None])[0] if len(others) else np.inf
            assert block.own[row] == pytest.approx(own, abs=1e-5)
            for column, (other, there) in enumerate(SEGMENTS.items()):
                if other == name:
                    assert block.scores[row, column] == block.closest[row, column] == -1
                    continue
                similar = vector @ there.T
                score = nearest_mean(similar[None])[0]
                assert block.scores[row, column] == pytest.approx(score, abs=1e-5)
                assert block.closest[row, column] == pytest.approx(similar.max(), abs=1e-5)
                assert block.nearest[row, column] == similar.argmax()


def test_of_very_many_examples_as_many_of_each_adapter_are_compared() -> None:
    many = {"a": vectors(100, 1), "b": vectors(30, 2), "c": vectors(5, 3)}
    rows = [block.rows for block in compared(many, most=75)]
    assert [len(each) for each in rows] == [25, 25, 5]
    assert rows[0][0] == 0
    assert rows[0][-1] == 99
    assert [len(block.rows) for block in compared(many, most=3)] == [20, 20, 5]
