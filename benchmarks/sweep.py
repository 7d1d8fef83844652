"""What the defaults for batch, encoder threads and linger rest on: each tried with others."""

import random
from statistics import median

from benchmarks.client import Client
from benchmarks.cpu import saturate, warm_up
from benchmarks.cpu_time import Stopwatch
from benchmarks.latency import added_ms
from benchmarks.plan import Plan
from benchmarks.queries import questions
from benchmarks.stack import ROUTER, WORKER, Stack, echo_stack

NAME = "sweep"

_BATCHES = (32, 64, 128, 256)
_THREADS = (1, 2)
_LINGERS = (0.0, 0.005, 0.01, 0.02, 0.05)
_TRICKLE_RATE = 20.0


def run(plan: Plan) -> None:
    """The router's settings, then the worker's; every value once in each round."""
    with echo_stack(plan.settings) as stack:
        for _ in plan.each_round(f"{NAME}, router"):
            for threads in _THREADS:
                for batch in _BATCHES:
                    _try_router(plan, stack, threads, batch)
    with echo_stack(plan.settings) as stack:
        stack.start(ROUTER)
        for number in plan.each_round(f"{NAME}, worker"):
            for linger in _LINGERS:
                _try_linger(plan, stack, linger, number)


def _try_router(plan: Plan, stack: Stack, threads: int, batch: int) -> None:
    plan.say(f"{threads} encoder threads, batches of {batch}")
    records = plan.size(8_000, 1_000)
    stack.start(
        ROUTER,
        variables={"LORELAY_ENCODER_THREADS": str(threads), "LORELAY_ROUTER_BATCH": str(batch)},
    )
    with Client(stack.settings, stack.settings.topics.requests) as client:
        client.pile_up(questions(), records // 8)
        client.count(records // 8)
        stopwatch = Stopwatch(stack.pids)
        client.pile_up(questions(), records)
        rate = client.count(records).rate
        spent = stopwatch.read()
    stack.stop(ROUTER)
    name = f"encoder_threads={threads} router_batch={batch}"
    plan.add(NAME, f"{name}: routed", rate, "queries/s")
    plan.add(NAME, f"{name}: CPU of router and broker", spent.total_ms / records, "ms/query")


def _try_linger(plan: Plan, stack: Stack, linger: float, number: int) -> None:
    plan.say(f"a linger of {linger * 1000:g} ms")
    stack.start(WORKER, variables=stack.engine | {"LORELAY_FLUSH_LINGER": f"{linger:g}"})
    records = plan.size(8_000, 1_000)
    warm_up(stack, records // 8)
    crowd = saturate(plan, stack, records)
    trickled = plan.size(300, 60)
    with Client(stack.settings, stack.settings.topics.responses) as client:
        stopwatch = Stopwatch(stack.pids)
        replies = client.trickle(questions(), trickled, _TRICKLE_RATE, random.Random(number))
        trickle = stopwatch.read()
    stack.stop(WORKER)
    name = f"flush_linger={linger:g}"
    plan.add(NAME, f"{name}: rate at saturation", records / crowd.seconds, "queries/s")
    plan.add(NAME, f"{name}: CPU at saturation", crowd.total_ms / records, "ms/query")
    plan.add(NAME, f"{name}: CPU at 20/s", trickle.total_ms / trickled, "ms/query")
    plan.add(NAME, f"{name}: added at 20/s, p50", median(map(added_ms, replies)), "ms")
