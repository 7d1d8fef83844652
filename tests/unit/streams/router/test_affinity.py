"""Adapters keep to few partitions, and no partition gets much more than its share."""

from collections import Counter, defaultdict
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from streams.router.affinity import SLACK, PartitionChoice

partition_counts = st.integers(1, 32)
adapters = st.text(min_size=1, max_size=12)


@given(partition_counts, st.lists(adapters, max_size=300))
def test_every_choice_is_a_partition_that_there_is(count: int, names: list[str]) -> None:
    choice = PartitionChoice(count)
    assert all(0 <= choice.choose(name) < count for name in names)
    assert choice.partitions == count


@given(partition_counts, st.lists(st.integers(0, 5).map("adapter-{}".format), max_size=500))
def test_no_partition_is_given_more_than_its_share_and_the_slack(
    count: int, names: list[str]
) -> None:
    choice = PartitionChoice(count)
    given_to: Counter[int] = Counter()
    for total, name in enumerate(names, start=1):
        partition = choice.choose(name)
        given_to[partition] += 1
        assert given_to[partition] <= ceil((1 + SLACK) * total / count)


@given(st.integers(1, 8), st.integers(1, 2000))
def test_a_single_adapter_is_spread_over_all_partitions(count: int, requests: int) -> None:
    choice = PartitionChoice(count)
    given_to = Counter(choice.choose("the-only-one") for _ in range(requests))
    if requests >= 100 * count:
        # What was given long ago fades, so the bound is on the recent requests.
        assert max(given_to.values()) <= (1 + SLACK) * requests / count + 1
        assert len(given_to) >= count / (1 + SLACK)


@given(st.integers(1, 16), adapters)
def test_routers_that_have_just_started_agree(count: int, name: str) -> None:
    assert PartitionChoice(count).choose(name) == PartitionChoice(count).choose(name)


def test_many_adapters_keep_to_few_partitions_each() -> None:
    choice = PartitionChoice(8)
    used: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for number in range(40_000):
        name = f"adapter-{number * 7919 % 100}"
        used[name][choice.choose(name)] += 1
    at_home = sum(counts.most_common(1)[0][1] for counts in used.values())
    assert at_home > 0.75 * 40_000


@given(st.integers(1, 16), adapters)
def test_one_more_partition_draws_adapters_to_itself_only(count: int, name: str) -> None:
    before = PartitionChoice(count).choose(name)
    after = PartitionChoice(count + 1).choose(name)
    assert after in {before, count}


def test_an_adapter_returns_home_when_the_load_of_others_has_faded() -> None:
    choice = PartitionChoice(4)
    home = choice.choose("ours")
    others = [name for name in map(str, range(100)) if PartitionChoice(4).choose(name) != home]
    for number in range(4_000):
        choice.choose(others[number % len(others)])
    assert choice.choose("ours") == home
