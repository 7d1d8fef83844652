"""What a hot adapter's backlog makes the queries of others wait."""

import random
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

from benchmarks.client import Client, Reply
from benchmarks.cpu import warm_up
from benchmarks.figures import Aim, percentile
from benchmarks.plan import Plan
from benchmarks.queries import ADAPTERS, Question, trained
from benchmarks.stack import ROUTER, WORKER, Stack, echo_stack, echo_variables

NAME = "fairness"

_PLACES = 16
_SERVICE_MS = 200
#: More than the engine's 80 a second: the hot adapter's backlog grows all the time.
_RATE = 96.0
_HOT_SHARE = 0.95
_HOT = ADAPTERS[0]


class _Seen(NamedTuple):
    """95th percentiles in milliseconds, where the engine's own work on a query is no waiting; and
    queries answered a second, of all adapters, until the last one was.
    """

    answered: float
    waited: float
    rate: float


def run(plan: Plan) -> None:
    """The others' queries alone, beside a hot adapter, and beside it in order of arrival."""
    seconds = plan.size(30, 6)
    with echo_stack(plan.settings) as stack:
        stack.start(ROUTER, WORKER, variables=stack.engine)
        warm_up(stack, plan.size(4_000, 500))
        stack.stop(WORKER)
        # The broker gets faster for a minute.
        _waits(plan, stack, _mixed(trained(), random.Random(0)), _RATE, seconds, random.Random(0))
        for number in plan.each_round(NAME):
            rng = random.Random(number)
            others = [q for q in trained() if q.adapter != _HOT]
            mixed = _mixed(others, rng)
            rare = _RATE * (1 - _HOT_SHARE)
            alone = _waits(plan, stack, others, rare, seconds, rng)
            beside = _waits(plan, stack, mixed, _RATE, seconds, rng)
            # All that is read goes to the engine at once, which serves it as it came.
            none = {"max_running": 10_000, "reserved_places": 0}
            in_order = _waits(plan, stack, mixed, _RATE, seconds, rng, **none)
            for name, p95 in (
                ("others alone", alone),
                ("others beside a hot adapter", beside),
                ("the same in order of arrival", in_order),
            ):
                plan.add(NAME, f"{name}: until answered, p95", p95.answered, "ms")
                plan.add(NAME, f"{name}: of it waiting", p95.waited, "ms")
            plan.add(NAME, "beside / in order: answered a second", beside.rate / in_order.rate, "")
            answered, waited = beside.answered / alone.answered, beside.waited / alone.waited
            plan.add(NAME, "beside / alone: until answered", answered, "")
            plan.add(NAME, "beside / alone: waiting", waited, "", Aim(2, at_most=True))


def _mixed(others: Sequence[Question], rng: random.Random) -> list[Question]:
    hot = [question for question in trained() if question.adapter == _HOT]
    return [rng.choice(hot if rng.random() < _HOT_SHARE else others) for _ in range(2000)]


def _waits(
    plan: Plan,
    stack: Stack,
    questions: Sequence[Question],
    rate: float,
    seconds: float,
    rng: random.Random,
    **settings: int,
) -> _Seen:
    """How long the others' queries took."""
    plan.say(f"{rate:.0f} queries/s {settings or ''}")
    engine = echo_variables(max_num_seqs=_PLACES, service_ms=_SERVICE_MS, **settings)
    stack.start(WORKER, variables=stack.engine | engine)
    with Client(stack.settings, stack.settings.topics.responses) as client:
        client.trickle(questions, 20, rate, rng)
        began = perf_counter()
        replies = client.trickle(questions, round(seconds * rate), rate, rng)
        took = perf_counter() - began
    stack.stop(WORKER)
    # By who answered: a question that selection gives to the hot adapter shares its backlog.
    seen = [reply for reply in replies if not _is_hot(reply)]
    return _Seen(
        percentile([reply.elapsed_ms for reply in seen], 0.95),
        percentile([_wait(reply) for reply in seen], 0.95),
        len(replies) / took,
    )


def _is_hot(reply: Reply) -> bool:
    return (reply.response.adapter or "").startswith(f"{_HOT}@")


def _wait(reply: Reply) -> float:
    return reply.elapsed_ms - (reply.response.timing.inference_ms or 0.0)
