"""What a sliding window holds."""

from hypothesis import given
from hypothesis import strategies as st

from streams.selection.recent import SLICES, WindowCounts
from streams.selection.stability import ScoreBins


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(-1, 1)), max_size=200).map(sorted),
    st.floats(500, 600),
)
def test_the_window_holds_what_is_newer_than_its_start(
    observed: list[tuple[float, float]], now: float
) -> None:
    counts = WindowCounts(ScoreBins((0.0,), (10, 10)))
    for at, score in observed:
        counts.add(score, int(at))
    recent = [score for at, score in observed if int(now) - SLICES < int(at) <= int(now)]
    below = sum(score < 0 for score in recent)
    assert counts.counts(int(now)) == [below, len(recent) - below]
