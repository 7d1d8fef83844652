"""`make chaos SEED=n MINUTES=m`: one fault after another under load, and what became of it.

Every fault has a broker, topics, routers and workers of its own start, an independent producer
and an independent reader. The exit status is 1 where anything was lost or doubled.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos import promise
from tests.chaos.broker import killable_broker
from tests.chaos.promise import POISON, Outcome, Plan, Run
from tests.chaos.storm import Act

_QUERIES_PER_SECOND = 30
#: Seconds of a run for each act, so that the fleet is whole again in between.
_ACT_SECONDS = 12.0
_ECHO = {"LORELAY_ENGINE": "echo", "LORELAY_SERVICE_MS": "100", "LORELAY_MAX_NUM_SEQS": "8"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong; `acts` gives the acts on routers and on workers for a number of them."""

    name: str
    acts: Callable[[int], tuple[dict[Act, int], dict[Act, int]]] = lambda count: ({}, {})
    engine: Mapping[str, str] = field(default_factory=lambda: _ECHO)
    poison: float = 0.0
    kills_broker: bool = False


FAULTS = (
    Fault("routers killed", lambda n: ({Act.KILL: n}, {})),
    Fault("workers killed", lambda n: ({}, {Act.KILL: n})),
    Fault("routers stalled", lambda n: ({Act.STOP: n}, {})),
    Fault("workers stalled", lambda n: ({}, {Act.STOP: n})),
    Fault("both terminated", lambda n: ({Act.TERM: n}, {Act.TERM: n})),
    Fault(
        "members come and go",
        lambda n: (
            {Act.JOIN: n, Act.KILL: n // 2, Act.STOP: n // 3},
            {Act.JOIN: n, Act.KILL: n // 2, Act.STOP: n // 3},
        ),
    ),
    Fault("engine killed by a query", engine={**_ECHO, "LORELAY_CRASH_ON": POISON}, poison=0.01),
    Fault("broker killed", kills_broker=True),
)


def main() -> int:
    """Runs every fault; 1 where the promise was broken."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another one, another schedule (1)")
    parser.add_argument("--minutes", type=float, default=8.0, help="of faults, in all (8)")
    parser.add_argument("--only", metavar="TEXT", default="", help="faults whose names hold this")
    options = parser.parse_args()
    promise.SEED = options.seed
    faults = [fault for fault in FAULTS if options.only in fault.name]
    if not faults:
        print(f"There is no such fault; choose of: {', '.join(f.name for f in FAULTS)}.")
        return 2
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = _table(f"seed {options.seed}, {options.minutes:g} minutes")
    is_kept = True
    for fault in faults:
        console.print(f"[dim]{fault.name}[/]")
        outcome = _outcome(fault, options.minutes * 60 / len(faults))
        table.add_row(fault.name, *_row(outcome))
        is_kept = is_kept and not outcome.lost and not outcome.doubled
    console.print(table)
    return 0 if is_kept else 1


def _outcome(fault: Fault, seconds: float) -> Outcome:
    count = max(1, round(seconds / _ACT_SECONDS))
    router, worker = fault.acts(count)
    plan = Plan(
        queries=round(seconds * _QUERIES_PER_SECOND),
        seconds=seconds,
        burst=20,
        router=router,
        worker=worker,
        broker_kills=count // 2 + 1 if fault.kills_broker else 0,
        poison=fault.poison,
        in_transactions=not fault.kills_broker,
    )
    with (
        tempfile.TemporaryDirectory(prefix="lorelay-chaos-") as name,
        killable_broker(Path(name) / "broker") as broker,
        Run(broker.address, Path(name), fault.engine, broker) as run,
    ):

        async def storm() -> Outcome:
            await run.prepare()
            return await run.through(plan)

        return asyncio.run(storm())


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("fault")
    for column in ("acts", "queries in", "distinct", "doubled", "lost"):
        table.add_column(column, justify="right")
    table.add_column("error responses")
    table.add_column("longest gap s", justify="right")
    table.add_column("recovered in s", justify="right")
    return table


def _row(outcome: Outcome) -> tuple[str, ...]:
    errors = Counter(r["error"]["category"] for r in outcome.responses if r["error"])
    return (
        str(sum(done.total() for done in outcome.acts.values()) or "-"),
        f"{len(outcome.sent.places):,}",
        f"{len(outcome.answers):,}",
        str(outcome.doubled),
        str(outcome.lost),
        ", ".join(f"{name} {count}" for name, count in errors.most_common()) or "-",
        f"{longest_gap(outcome.response_times):.1f}",
        f"{recovery(outcome.hits, outcome.response_times):.1f}",
    )


def longest_gap(times: list[datetime]) -> float:
    """The longest time without a response while queries came, in seconds."""
    pairs = pairwise(times)
    return max(((later - earlier).total_seconds() for earlier, later in pairs), default=0.0)


def recovery(hits: list[datetime], times: list[datetime]) -> float:
    """The longest time from an act to the next response, in seconds."""
    waits = (min((t for t in times if t > hit), default=hit) - hit for hit in hits)
    return max((wait.total_seconds() for wait in waits), default=0.0)


if __name__ == "__main__":
    # Members find the project by its folder, wherever this was called from.
    os.chdir(Path(__file__).parents[2])
    sys.exit(main())
