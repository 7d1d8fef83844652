"""CPU milliseconds a query outside the engine, at saturation and at a trickle, and at idle."""

import random
from time import sleep

from benchmarks.client import Client
from benchmarks.cpu_time import Spent, Stopwatch
from benchmarks.figures import Aim
from benchmarks.piece import run_piece
from benchmarks.plan import Plan
from benchmarks.queries import questions
from benchmarks.stack import ROUTER, WORKER, Stack, echo_stack

NAME = "cpu"

_TRICKLE_RATE = 20.0


def run(plan: Plan) -> None:
    """One stack with the echo engine; idle, trickle and saturation in each round."""
    records = plan.size(20_000, 2_000)
    with echo_stack(plan.settings) as stack:
        stack.start(ROUTER, WORKER, variables=stack.engine)
        warm_up(stack, plan.size(4_000, 500))
        for number in plan.each_round(NAME):
            idle = _idle(plan, stack)
            trickle = _trickle(plan, stack, number)
            per_second = saturate(plan, stack, records)
            engine = run_piece("echo_engine", _engine(plan))["cpu_ms"]
            plan.add(NAME, "echo engine alone, for comparison", engine, "ms/query")
            _add(plan, "saturation", per_second, records, Aim(1.5, at_most=True))
            plan.add(NAME, "saturation: rate", records / per_second.seconds, "queries/s")
            _add(plan, "trickle of 20/s", *trickle, Aim(6, at_most=True))
            plan.add(NAME, "idle", idle.percent_of_core, "% of a core")
            for name, ms in idle.ms.items():
                plan.add(NAME, f"idle: {name}", ms / idle.seconds / 10, "% of a core")


def warm_up(stack: Stack, records: int) -> None:
    """Lets the broker's JVM compile what is hot, and adapters be loaded."""
    with Client(stack.settings, stack.settings.topics.responses) as client:
        client.pile_up(questions(), records)
        client.count(records)


def saturate(plan: Plan, stack: Stack, records: int) -> Spent:
    """What answering so many queries costs that are there at once."""
    plan.say(f"saturation: {records:,} queries piled up")
    with Client(stack.settings, stack.settings.topics.responses) as client:
        stopwatch = Stopwatch(stack.pids)
        client.pile_up(questions(), records)
        client.count(records)
        return stopwatch.read()


def _idle(plan: Plan, stack: Stack) -> Spent:
    seconds = plan.size(30, 5)
    plan.say(f"nothing to do for {seconds} s")
    # What the last round left to do: metric windows, the brokers' offsets.
    sleep(plan.size(15, 2))
    stopwatch = Stopwatch(stack.pids)
    sleep(seconds)
    return stopwatch.read()


def _trickle(plan: Plan, stack: Stack, number: int) -> tuple[Spent, int]:
    records = round(plan.size(20, 4) * _TRICKLE_RATE)
    plan.say(f"a trickle of {records} queries")
    with Client(stack.settings, stack.settings.topics.responses) as client:
        stopwatch = Stopwatch(stack.pids)
        client.trickle(questions(), records, _TRICKLE_RATE, random.Random(number))
        return stopwatch.read(), records


def _engine(plan: Plan) -> dict[str, object]:
    return {
        "service_ms": 0,
        "max_num_seqs": 64,
        "concurrency": 64,
        "warm": 0.5,
        "seconds": plan.size(3, 1),
    }


def _add(plan: Plan, when: str, spent: Spent, records: int, aim: Aim) -> None:
    plan.add(NAME, when, spent.total_ms / records, "ms/query", aim)
    for name, ms in spent.ms.items():
        plan.add(NAME, f"{when}: {name}", ms / records, "ms/query")
