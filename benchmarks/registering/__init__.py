"""How soon a new adapter answers: from `lorelay adapters register` to the first served answer.

Adapters of families of their own, registered one after the other while ordinary queries trickle
through. Each is asked for by its name, and by texts that it is to be selected for.
"""

import random
from collections.abc import Sequence
from statistics import median

from benchmarks.adapters import stand_ins
from benchmarks.plan import Plan
from benchmarks.queries import questions
from benchmarks.registering.driver import Driver, Served, driving
from benchmarks.registering.fields import adapters
from benchmarks.stack import ROUTER, WORKER, echo_stack

NAME = "registering"

_RATE = 10.0
_PAUSE_SECONDS = 1.0


def run(plan: Plan) -> None:
    """A new stack with the echo engine in each round, so that each begins with as many adapters."""
    for number in plan.each_round(NAME):
        with echo_stack(plan.settings) as stack:
            stack.start(ROUTER, WORKER, variables=stack.engine)
            pattern = stand_ins(stack.folder / "pattern")[0]
            fields = list(adapters(stack.folder / "fields", pattern, plan.size(20, 3)))
            rng = random.Random(number)
            with driving(stack.settings, questions(), _RATE, rng) as driver:
                driver.trickle(plan.size(10, 3))
                driver.ordinary_ms.clear()
                plan.say(f"registering {len(fields)} adapters beside {_RATE:g} queries/s")
                starts, served = [], []
                for field in fields:
                    starts.append(driver.command("adapters", "register", "--help"))
                    driver.trickle(_PAUSE_SECONDS)
                    served.append(driver.register(field))
                    driver.trickle(_PAUSE_SECONDS)
            _add(plan, driver, starts, served)


def _add(plan: Plan, driver: Driver, starts: Sequence[float], served: Sequence[Served]) -> None:
    ordinary = median(driver.ordinary_ms)
    plan.add(NAME, "ordinary query: p50", ordinary, "ms")
    plan.add(NAME, "ordinary query: slowest", max(driver.ordinary_ms), "ms")
    _add_times(plan, "`register` returns", [one.returned for one in served], ordinary)
    plan.add(NAME, "its start and imports (`--help`): p50", 1000 * median(starts), "ms")
    visible = [one.visible for one in served]
    plan.add(NAME, "version visible: p50", 1000 * median(visible), "ms")
    for way, answered in (
        ("by name", [one.by_name for one in served]),
        ("selected", [one.selected for one in served]),
    ):
        _add_times(plan, f"{way}, from the start", answered, ordinary)
        since = [at - seen for at, seen in zip(answered, visible, strict=True)]
        _add_times(plan, f"{way}, once visible", since, ordinary)


def _add_times(plan: Plan, what: str, seconds: Sequence[float], ordinary_ms: float) -> None:
    ms = [1000 * each for each in seconds]
    plan.add(NAME, f"{what}: p50", median(ms), "ms")
    plan.add(NAME, f"{what}: slowest", max(ms), "ms")
    plan.add(NAME, f"{what}: p50 / ordinary query", median(ms) / ordinary_ms, "")
