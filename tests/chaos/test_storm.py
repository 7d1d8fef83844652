"""The schedule of a storm."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.storm import Act, schedule


@given(st.integers(), st.dictionaries(st.sampled_from(Act), st.integers(0, 6)))
def test_a_schedule_has_what_was_asked_for_and_nobody_joins_or_leaves_twice(
    seed: int, counts: dict[Act, int]
) -> None:
    counts.pop(Act.LEAVE, None)
    acts = schedule(random.Random(seed), counts)
    joins = counts.get(Act.JOIN, 0)
    assert Counter(acts) == Counter(counts) + Counter({Act.LEAVE: joins})
    moves = [act for act in acts if act in {Act.JOIN, Act.LEAVE}]
    assert moves == [Act.JOIN, Act.LEAVE] * joins
