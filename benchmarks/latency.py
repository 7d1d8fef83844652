"""Milliseconds that Kafka and routing add to the engine's own, at low load."""

import random
from collections.abc import Sequence
from statistics import median

from benchmarks.client import Client, Reply
from benchmarks.figures import Aim, percentile
from benchmarks.plan import Plan
from benchmarks.queries import questions
from benchmarks.stack import ROUTER, WORKER, echo_stack, echo_variables

NAME = "latency"

_RATE = 10.0
_SERVICE_MS = (0, 50)


def run(plan: Plan) -> None:
    """The echo engine without and with a service time; a trickle through each in each round."""
    with echo_stack(plan.settings) as stack:
        stack.start(ROUTER)
        for number in plan.each_round(NAME):
            for service_ms in _SERVICE_MS:
                plan.say(f"a trickle of {_RATE:g}/s, service time {service_ms} ms")
                stack.start(WORKER, variables=stack.engine | echo_variables(service_ms=service_ms))
                with Client(stack.settings, stack.settings.topics.responses) as client:
                    rng = random.Random(number)
                    client.trickle(questions(), plan.size(50, 20), 2 * _RATE, rng)
                    records = plan.size(300, 50)
                    replies = client.trickle(questions(), records, _RATE, rng)
                stack.stop(WORKER)
                _add(plan, f"service {service_ms} ms", replies)


def added_ms(reply: Reply) -> float:
    """What the client waited for beyond the engine."""
    return reply.elapsed_ms - _engine_ms(reply)


def _add(plan: Plan, when: str, replies: Sequence[Reply]) -> None:
    """What was added, and the medians of its parts by the responses' own timings."""
    added = [added_ms(reply) for reply in replies]
    to_router = [reply.response.timing.queue_ms or 0.0 for reply in replies]
    in_router = [reply.response.timing.routing_ms or 0.0 for reply in replies]
    parts = {
        "client to router": to_router,
        "in the router": in_router,
        "to the worker and back": list(map(_rest, added, to_router, in_router)),
    }
    plan.add(NAME, f"{when}: added, p50", median(added), "ms", Aim(20, at_most=True))
    plan.add(NAME, f"{when}: added, p99", percentile(added, 0.99), "ms")
    for name, values in parts.items():
        plan.add(NAME, f"{when}: {name}, p50", median(values), "ms")
    plan.add(NAME, f"{when}: the engine, p50", median(map(_engine_ms, replies)), "ms")


def _rest(added: float, to_router: float, in_router: float) -> float:
    return added - to_router - in_router


def _engine_ms(reply: Reply) -> float:
    timing = reply.response.timing
    return (timing.engine_queue_ms or 0.0) + (timing.inference_ms or 0.0)
