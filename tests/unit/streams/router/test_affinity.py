"""Adapters keep to few partitions, and no partition gets much more than its share."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import count
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


def zipf(adapters: int, requests: int, seed: int) -> list[str]:
    weights = [1 / rank for rank in range(1, adapters + 1)]
    names = [f"adapter-{number}" for number in range(adapters)]
    return random.Random(seed).choices(names, weights, k=requests)


def spread(choices: Iterable[tuple[str, int]]) -> dict[str, Counter[int]]:
    used: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for name, partition in choices:
        used[name][partition] += 1
    return used


def partitions_of_most(used: Counter[int]) -> int:
    """How many partitions have nine tenths of the requests."""
    wanted = 0.9 * used.total()
    return next(n for n in count(1) if sum(c for _, c in used.most_common(n)) >= wanted)


def test_a_hot_adapter_has_many_partitions_and_a_rare_one_few() -> None:
    choice = PartitionChoice(8)
    requests = zipf(200, 40_000, seed=1)
    used = spread((name, choice.choose(name)) for name in requests[20_000:])
    hottest = partitions_of_most(used["adapter-0"])
    assert 2 <= hottest <= 4  # its share is 1.36 of a partition's
    rarer = [partitions_of_most(used[f"adapter-{n}"]) for n in range(8, 40)]
    assert sum(rarer) / len(rarer) < 2


def test_routers_that_do_not_see_each_other_place_alike() -> None:
    routers = [PartitionChoice(8), PartitionChoice(8)]
    used: list[dict[str, Counter[int]]] = []
    for seed, router in enumerate(routers):
        requests = zipf(200, 40_000, seed)
        used.append(spread((name, router.choose(name)) for name in requests))
    homes = [{name: counts.most_common(1)[0][0] for name, counts in u.items()} for u in used]
    alike = sum(homes[0][name] == homes[1][name] for name in homes[0])
    assert alike > 0.8 * len(homes[0])


def test_what_was_hot_and_is_no_more_goes_back_to_one_partition() -> None:
    choice = PartitionChoice(4)
    for _ in range(4_000):
        choice.choose("once-hot")
    for name in zipf(100, 20_000, seed=2):
        choice.choose(name)
    later = Counter[int]()
    for number, name in enumerate(zipf(100, 4_000, seed=3)):
        choice.choose(name)
        if number % 100 == 0:
            later[choice.choose("once-hot")] += 1
    assert later.most_common(1)[0][1] > later.total() / 2
