"""How much more memory a router and a worker take over a long backlog of ever new queries."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.client import Client
from benchmarks.cpu import warm_up
from benchmarks.cpu_time import with_descendants
from benchmarks.figures import Aim
from benchmarks.plan import Plan
from benchmarks.queries import different
from benchmarks.stack import ROUTER, WORKER, Stack, echo_stack, echo_variables
from streams.router.settings import RouterSettings

NAME = "memory"

_MEMBERS = (ROUTER, WORKER)
#: So slow that the backlog in front of the worker lasts, and nothing of it waits for the router.
_ENGINE = {"service_ms": 50, "max_num_seqs": 16}
#: The encoder's cache is to fill, as it does for users.
_CACHE = {"LORELAY_ENCODER_CACHE": str(RouterSettings.model_fields["encoder_cache"].default)}
_LOOK_SECONDS = 0.25


def run(plan: Plan) -> None:
    """A backlog in front of both, routed to its end; the worker answers what it can meanwhile."""
    records = plan.size(300_000, 5_000)
    with echo_stack(plan.settings) as stack:
        for _ in plan.each_round(NAME):
            variables = stack.engine | echo_variables(**_ENGINE) | _CACHE
            stack.start(ROUTER, WORKER, variables=variables)
            warm_up(stack, plan.size(4_000, 500))
            plan.say(f"{records:,} queries piled up")
            with (
                Client(stack.settings, stack.settings.topics.requests) as client,
                _grown(stack) as grown,
            ):
                client.pile_up(different(records), records)
                client.count(records)
            stack.stop()
            for name in _MEMBERS:
                figure = f"{name}, {records:,} different queries: growth"
                plan.add(NAME, figure, grown[name], "MB", Aim(50, at_most=True))


@contextmanager
def _grown(stack: Stack) -> Iterator[dict[str, float]]:
    """By how many MB each member has grown at its largest; filled at the end of the block."""
    pids = {name: stack.pids[name] for name in _MEMBERS}
    before = {name: resident_mb(pid) for name, pid in pids.items()}
    largest = dict(before)
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_SECONDS):
            for name, pid in pids.items():
                largest[name] = max(largest[name], resident_mb(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    grown: dict[str, float] = {}
    try:
        yield grown
    finally:
        is_over.set()
        watcher.join()
        grown.update({name: largest[name] - before[name] for name in _MEMBERS})


def resident_mb(pid: int) -> float:
    """The resident memory of a process and all below it."""
    return sum(one.memory_info().rss for one in with_descendants(pid)) / 2**20
