"""`make chaos SEED=n MINUTES=m`: one fault after another under load, and what became of it.

Every fault has a broker, topics, routers and workers of its own start, an independent producer
and an independent reader. The exit status is 1 where the promise was broken.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.disk import NoDisk
from tests.chaos.faults import FAULTS, VLLM, Fault
from tests.chaos.promise import Outcome, Run
from tests.chaos.test_promise_vllm import MODELS

#: What is out of work for longer after a hit shows it by then.
_FOLLOWING = timedelta(seconds=10)


def main() -> int:
    """Runs every fault; 1 where the promise was broken."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another one, another schedule (1)")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of faults, in all; starts take as long (10)"
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="faults whose names hold this")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if options.only in fault.name]
    if not faults:
        print(f"There is no such fault; choose of: {', '.join(f.name for f in FAULTS)}.")
        return 2
    console = Console(width=None if sys.stdout.isatty() else 180)
    table = _table(f"seed {options.seed}, {options.minutes:g} minutes")
    is_kept = True
    try:
        for fault in faults:
            console.print(f"[dim]{datetime.now():%H:%M:%S}  {fault.name}[/]", highlight=False)
            is_kept &= _add(table, fault, options.minutes * 60 / len(faults), options.seed, console)
    finally:
        console.print(table)
    return 0 if is_kept else 1


def _add(table: Table, fault: Fault, seconds: float, seed: int, console: Console) -> bool:
    """Runs the fault and adds its row; whether the promise was kept."""
    try:
        outcome = _outcome(fault, seconds, seed)
    except _NotHere as error:
        table.add_row(fault.name, f"not run: {error}")
        return True
    table.add_row(fault.name, *_row(outcome))
    if not outcome.is_promise_kept:
        console.print(f"[red]{_broken(outcome)}[/]", highlight=False)
    return outcome.is_promise_kept


class _NotHere(Exception):
    """This machine lacks what the fault needs; the text says what."""


def _outcome(fault: Fault, seconds: float, seed: int) -> Outcome:
    adapters = _adapters() if fault.engine is VLLM else []
    plan = fault.plan(seconds, tuple(folder.name for folder in adapters))
    rng = random.Random(f"{seed} {fault.name}")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lorelay-chaos-") as name,
            fault.ground(Path(name), rng) as ground,
            Run(ground.address, Path(name), fault.engine, seed=seed) as run,
        ):

            async def storm() -> Outcome:
                await run.prepare(routers=fault.routers, workers=fault.workers)
                if adapters:
                    run.register(adapters)
                return await run.through(plan, partial(fault.strike, run, ground, seconds))

            return asyncio.run(storm())
    except NoDisk as error:
        raise _NotHere(str(error)) from error


def _adapters() -> list[Path]:
    if not (MODELS / "base").is_dir():
        raise _NotHere("there are no models: `make models` trains them")
    return sorted((MODELS / "adapters").iterdir())


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("fault")
    for column in ("hits", "queries in", "distinct", "doubled", "lost"):
        table.add_column(column, justify="right")
    table.add_column("error responses")
    table.add_column("longest gap s", justify="right")
    table.add_column("recovered in s", justify="right")
    table.add_column("grown: MB, descriptors")
    return table


def _row(outcome: Outcome) -> tuple[str, ...]:
    errors = Counter(r["error"]["category"] for r in outcome.responses if r["error"])
    return (
        str(len(outcome.hits) or "-"),
        f"{len(outcome.sent.places):,}",
        f"{len(outcome.answers):,}",
        str(outcome.doubled),
        str(outcome.lost),
        ", ".join(f"{name} {count}" for name, count in errors.most_common()) or "-",
        f"{longest_gap(outcome.response_times):.1f}",
        f"{recovery(outcome.hits, outcome.response_times):.1f}" if outcome.hits else "-",
        ", ".join(
            f"{role} {growth.megabytes:+.0f}, {growth.descriptors:+d}"
            for role, growth in sorted(outcome.growth.items())
        )
        or "-",
    )


def _broken(outcome: Outcome) -> str:
    return (
        f"{outcome.summary}\nrecords left behind: {dict(outcome.unfinished)}; counted by metrics: "
        f"{outcome.counted_by_metrics} of {len(outcome.responses)}; ended by themselves: "
        f"{outcome.crashed}; processes left behind: {outcome.left_behind}"
    )


def longest_gap(times: list[datetime]) -> float:
    """The longest time without a response while queries came, in seconds."""
    pairs = pairwise(times)
    return max(((later - earlier).total_seconds() for earlier, later in pairs), default=0.0)


def recovery(hits: list[datetime], times: list[datetime]) -> float:
    """The longest time from a hit to the end of the longest pause that follows it, in seconds."""
    pauses = list(pairwise(times))
    return max((_pause_after(hit, pauses) for hit in hits), default=0.0)


def _pause_after(hit: datetime, pauses: list[tuple[datetime, datetime]]) -> float:
    following = [(a, b) for a, b in pauses if hit < b and a < hit + _FOLLOWING]
    if not following:
        return 0.0
    _, end = max(following, key=lambda pause: pause[1] - pause[0])
    return (end - hit).total_seconds()


if __name__ == "__main__":
    # Members find the project by its folder, wherever this was called from.
    os.chdir(Path(__file__).parents[2])
    sys.exit(main())
