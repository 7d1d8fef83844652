"""How often an adapter has to be loaded, and how evenly workers are used, by where requests go.

200 adapters with room for 32 of them in all: 4 workers with 8 places each, Zipf load, two routers
that know nothing of each other. Round robin and plain hashing are what an ordinary producer does.
"""

from benchmarks.affinity.load import arrivals
from benchmarks.affinity.policies import POLICIES, Policy
from benchmarks.affinity.processes import Measured, measure, running_workers
from benchmarks.affinity.simulation import Simulated, simulate
from benchmarks.figures import Aim
from benchmarks.plan import Plan

NAME = "affinity"
ADAPTERS = 200
WORKERS = 4
PLACES = 8
ROUTERS = 2
PARTITIONS = (4, 8)
_HASHING, _OURS = "plain hashing", "lorelay"


def run(plan: Plan) -> None:
    """The simulation, then the same requests with real workers and the echo engine."""
    for number in plan.each_round(f"{NAME}, simulated"):
        requests = arrivals(ADAPTERS, plan.size(40_000, 8_000), seed=number)
        for partitions in PARTITIONS:
            for policy in POLICIES:
                found = simulate(policy, requests, partitions, WORKERS, PLACES, ROUTERS, number)
                _add_simulated(plan, policy, partitions, found)
        oldest = simulate(
            _policy(_OURS), requests, PARTITIONS[-1], WORKERS, PLACES, ROUTERS, number, by_age=True
        )
        plan.add(
            f"{NAME}, simulated",
            f"{_OURS}, {PARTITIONS[-1]} partitions, least recently used makes room: cold",
            100 * oldest.cold,
            "%",
        )
    with running_workers(plan, ADAPTERS, WORKERS, PLACES, PARTITIONS[-1]) as workers:
        for number in plan.each_round(f"{NAME}, real"):
            for policy in POLICIES:
                plan.say(policy.name)
                _add_measured(plan, policy, measure(plan, workers, policy, ROUTERS, number))


def _policy(name: str) -> Policy:
    return next(policy for policy in POLICIES if policy.name == name)


def _add_simulated(plan: Plan, policy: Policy, partitions: int, found: Simulated) -> None:
    table, row = f"{NAME}, simulated", f"{policy.name}, {partitions} partitions"
    plan.add(table, f"{row}: cold", 100 * found.cold, "%")
    plan.add(table, f"{row}: busiest / mean", found.imbalance, "", _aim(policy, 1.25))


def _add_measured(plan: Plan, policy: Policy, found: Measured) -> None:
    table, row = f"{NAME}, real", policy.name
    plan.add(table, f"{row}: cold", 100 * found.cold, "%")
    plan.add(table, f"{row}: busiest / mean", found.imbalance, "", _aim(policy, 1.25))
    plan.add(table, f"{row}: loads", found.loads_per_second, "loads/s")
    plan.add(table, f"{row}: total, p50", found.p50_ms, "ms")
    plan.add(table, f"{row}: total, p95", found.p95_ms, "ms")


def _aim(policy: Policy, value: float) -> Aim | None:
    return Aim(value, at_most=True) if policy.name == _OURS else None
