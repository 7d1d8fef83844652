"""The simulation of who loads which adapter."""

from benchmarks.affinity.load import arrivals
from benchmarks.affinity.policies import POLICIES, Policy
from benchmarks.affinity.simulation import Simulated, imbalance, simulate

ROUND_ROBIN, HASHING, OURS = POLICIES


def simulated(policy: Policy, *, adapters: int = 200, places: int = 8) -> Simulated:
    return simulate(policy, arrivals(adapters, 8_000, seed=1), 8, 4, places, 2, seed=1)


def test_what_fits_is_cold_once_and_counted_only_after_that() -> None:
    assert simulated(ROUND_ROBIN, adapters=40, places=40).cold < 0.01


def test_the_same_seed_gives_the_same_figures() -> None:
    assert simulated(OURS) == simulated(OURS)


def test_round_robin_loads_most_and_hashing_least_evenly() -> None:
    turns, hashing, ours = map(simulated, POLICIES)
    assert turns.cold > 1.3 * ours.cold
    assert hashing.imbalance > 1.1 * ours.imbalance
    assert ours.cold < 1.25 * hashing.cold


def test_imbalance_is_one_where_all_have_the_same_and_the_number_of_workers_where_one_has_all() -> (
    None
):
    assert imbalance(["a", "b"] * 2_000, 2) == 1
    assert imbalance(["a"] * 4_000, 2) == 2


def test_the_first_adapter_comes_twice_as_often_as_the_second() -> None:
    found = arrivals(200, 100_000, seed=3)
    most = sorted((found.count(name) for name in set(found)), reverse=True)
    assert 1.9 < most[0] / most[1] < 2.1
