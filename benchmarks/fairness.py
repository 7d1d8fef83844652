"""What a hot adapter's backlog makes the queries of others wait."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.client import Client, Reply
from benchmarks.cpu import warm_up
from benchmarks.cpu_time import Stopwatch
from benchmarks.figures import Aim, percentile
from benchmarks.plan import Plan
from benchmarks.queries import ADAPTERS, Question, trained
from benchmarks.stack import ROUTER, WORKER, Stack, echo_stack, echo_variables

NAME = "fairness"

_PLACES = 16
_HOT_SHARE = 0.95
_HOT = ADAPTERS[0]
#: All that is read goes to the engine at once, which serves it as it came.
_IN_ORDER = {"max_running": 10_000, "reserved_places": 0}


class _Seen(NamedTuple):
    """95th percentiles in milliseconds, where the engine's own work on a query is no waiting;
    queries answered a second, of all adapters, until the last one was; and percent of a core that
    router, worker and broker kept busy.
    """

    answered: float
    waited: float
    rate: float
    busy: float


class _Engine(NamedTuple):
    """How long it takes for a query, and what comes in meanwhile: a fifth more a second than it
    can answer, so that the hot adapter's backlog grows all the time.
    """

    service_ms: int
    rate: float


_ENGINES = (_Engine(400, 48.0), _Engine(200, 96.0))


def run(plan: Plan) -> None:
    """The others' queries alone, beside a hot adapter, and beside it in order of arrival."""
    with echo_stack(plan.settings) as stack:
        stack.start(ROUTER, WORKER, variables=stack.engine)
        warm_up(stack, plan.size(4_000, 500))
        stack.stop(WORKER)
        # The broker gets faster for a minute.
        _waits(plan, stack, _ENGINES[-1], _mixed(trained(), random.Random(0)), random.Random(0))
        for number in plan.each_round(NAME):
            for engine in _ENGINES:
                _compare(plan, stack, engine, random.Random(number))


def _compare(plan: Plan, stack: Stack, engine: _Engine, rng: random.Random) -> None:
    others = [question for question in trained() if question.adapter != _HOT]
    mixed = _mixed(others, rng)
    rare = engine._replace(rate=engine.rate * (1 - _HOT_SHARE))
    alone = _waits(plan, stack, rare, others, rng)
    beside = _waits(plan, stack, engine, mixed, rng)
    in_order = _waits(plan, stack, engine, mixed, rng, **_IN_ORDER)
    for name, p95 in (
        ("others alone", alone),
        ("others beside a hot adapter", beside),
        ("the same in order of arrival", in_order),
    ):
        _add(plan, engine, f"{name}: until answered, p95", p95.answered, "ms")
        _add(plan, engine, f"{name}: of it waiting", p95.waited, "ms")
        _add(plan, engine, f"{name}: CPU of all", p95.busy, "% of a core")
    _add(plan, engine, "beside / in order: answered a second", beside.rate / in_order.rate)
    _add(plan, engine, "beside / alone: until answered", beside.answered / alone.answered)
    ratio = beside.waited / alone.waited
    _add(plan, engine, "beside / alone: waiting", ratio, aim=Aim(2, at_most=True))


def _add(
    plan: Plan, engine: _Engine, name: str, value: float, unit: str = "", aim: Aim | None = None
) -> None:
    plan.add(NAME, f"{engine.rate:.0f}/s: {name}", value, unit, aim)


def _mixed(others: Sequence[Question], rng: random.Random) -> list[Question]:
    hot = [question for question in trained() if question.adapter == _HOT]
    return [rng.choice(hot if rng.random() < _HOT_SHARE else others) for _ in range(2000)]


def _waits(
    plan: Plan,
    stack: Stack,
    engine: _Engine,
    questions: Sequence[Question],
    rng: random.Random,
    **settings: int,
) -> _Seen:
    """How long the others' queries took."""
    plan.say(f"{engine.rate:.0f} queries/s {settings or ''}")
    variables = echo_variables(max_num_seqs=_PLACES, service_ms=engine.service_ms, **settings)
    stack.start(WORKER, variables=stack.engine | variables)
    with Client(stack.settings, stack.settings.topics.responses) as client:
        client.trickle(questions, 20, engine.rate, rng)
        stopwatch = Stopwatch(stack.pids)
        records = round(plan.size(60, 6) * engine.rate)
        replies = client.trickle(questions, records, engine.rate, rng)
        spent = stopwatch.read()
    stack.stop(WORKER)
    # By who answered: a question that selection gives to the hot adapter shares its backlog.
    seen = [reply for reply in replies if not _is_hot(reply)]
    return _Seen(
        percentile([reply.elapsed_ms for reply in seen], 0.95),
        percentile([_wait(reply) for reply in seen], 0.95),
        len(replies) / spent.seconds,
        spent.percent_of_core,
    )


def _is_hot(reply: Reply) -> bool:
    return (reply.response.adapter or "").startswith(f"{_HOT}@")


def _wait(reply: Reply) -> float:
    return reply.elapsed_ms - (reply.response.timing.inference_ms or 0.0)
