"""Made-up adapters, and what is measured on them."""

import numpy as np
import pytest

from benchmarks.figures import Figures
from benchmarks.selection_scale import growth
from benchmarks.selection_scale.adapters import Likeness, MadeUpEncoder
from tests.unit.streams.selection.topics import DIMENSIONS, TopicEncoder

_LIKENESS = Likeness(
    np.zeros(DIMENSIONS, np.float32),
    np.eye(DIMENSIONS, dtype=np.float32) / np.float32(DIMENSIONS**0.5),
    adapter=0.5,
    topic=0.2,
)


@pytest.fixture
def made() -> MadeUpEncoder:
    return MadeUpEncoder(TopicEncoder(), _LIKENESS, each=20)


def test_a_made_up_text_has_the_same_vector_in_any_batch(made: MadeUpEncoder) -> None:
    texts = [made.query(adapter, number) for adapter in (1, 2) for number in range(3)]
    together = made.encode([*texts, "law 1"])
    assert (made.encode(texts[3:4])[0] == together[3]).all()
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(7), abs=1e-5)


def test_texts_of_an_adapter_are_nearer_to_each_other_than_to_others(made: MadeUpEncoder) -> None:
    one, same, other = (
        made.encode([made.query(adapter, number) for number in numbers])
        for adapter, numbers in ((1, range(20)), (1, range(20, 40)), (2, range(20)))
    )
    assert (one @ same.T).mean() == pytest.approx(_LIKENESS.adapter, abs=0.2)
    assert (one @ same.T).mean() > (one @ other.T).mean() + 0.2


def test_queries_are_none_of_the_examples(made: MadeUpEncoder) -> None:
    known = {example.text for example in made.examples(1)}
    assert len(known) == 20
    assert known.isdisjoint({made.query(1, number) for number in range(100)})


def test_each_count_has_its_time_its_memory_and_its_share_of_equal_decisions(
    made: MadeUpEncoder,
) -> None:
    figures = Figures()
    growth.measure(made, [2, 24], figures)
    found = {(figure.benchmark, figure.name): figure.median for figure in figures.all()}
    assert {group for group, _ in found} == {"2 adapters", "24 adapters"}
    assert found["2 adapters", "adapters that a query is compared with"] == 2
    assert found["2 adapters", "share of decisions that are the same"] == 1
    for size in (1, 128):
        assert found["24 adapters", f"{size} at once, by shortlist"] > 0
    assert found["24 adapters", "share of decisions that are the same"] > 0.9
