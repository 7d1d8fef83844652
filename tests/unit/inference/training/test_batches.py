import random
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from inference.training.batches import Sample, endless, length_buckets

lengths = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=60)


def samples(sizes: list[tuple[int, int]]) -> list[Sample]:
    return [Sample([1] * prompt, [2] * answer) for prompt, answer in sizes]


@given(lengths, st.integers(1, 400), st.integers())
def test_every_sample_is_in_one_batch_and_no_batch_exceeds_its_tokens(
    sizes: list[tuple[int, int]], tokens: int, seed: int
) -> None:
    given_samples = samples(sizes)
    batches = length_buckets(given_samples, tokens, random.Random(seed))
    assert sorted(map(id, given_samples)) == sorted(id(s) for batch in batches for s in batch)
    for batch in batches:
        width = max(sample.length for sample in batch)
        assert width * len(batch) <= tokens or len(batch) == 1


def test_the_same_seed_gives_the_same_batches_and_each_epoch_another_order() -> None:
    rows = samples([(number % 7 + 1, number % 5 + 1) for number in range(40)])
    first = list(islice(endless(lambda rng: rows, 50, seed=3), 30))
    assert list(islice(endless(lambda rng: rows, 50, seed=3), 30)) == first
    per_epoch = len(length_buckets(rows, 50, random.Random(0)))
    assert first[:per_epoch] != first[per_epoch : 2 * per_epoch]
