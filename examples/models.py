"""Build the demo's base model and its three adapters: ``python examples/models.py OUT``.

Runs in the worker environment. OUT/base is a tiny Llama, OUT/adapters/<adapter_id> one folder an
adapter, each ready for `lorelay adapters register`. What is there already, from the same data
and recipe, is left alone.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

# Threads that wait for each other by spinning starve on a busy machine. Read on import of torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from rich.console import Console
from rich.progress import Progress

from inference.training.base import IDENTITY
from inference.training.dataset import TrainingRow, read_rows
from inference.training.plan import TrainingPlan, plan_of, read_metadata
from inference.training.progress import bar, training_bars
from inference.training.tiny_base import Corpus, TinyBase, train_base
from schemas.errors import ConfigurationError, LorelayError
from schemas.records import BaseModel

DATA = Path(__file__).resolve().parent / "data"
BASE_MODEL = BaseModel("lorelay-demo-base", "1.0.0")
RECIPE = TinyBase()
ADAPTER_STEPS = 350
TOKENS_PER_BATCH = 500
NOISE = 0.5
WANTED_RECALL = 0.98
TRIES = 3
_PRELOADED = [
    "inference.training.fit",
    "inference.training.recall",
    "inference.training.trainer",
    "peft",
    "transformers.generation.utils",
    "transformers.models.llama.modeling_llama",
]
FINGERPRINT = "inputs_sha256"
"""The key that tells what a model was trained from, in lorelay.json or ``custom`` metadata."""


Step = tuple[str, int, int, float]
"""An adapter's id, its steps done, its steps planned, its loss."""


@dataclass(frozen=True, slots=True)
class Job:
    """One adapter to train, and from what."""

    metadata: Mapping[str, Any]
    rows: Sequence[TrainingRow]
    held_out: Sequence[TrainingRow]
    base: Path
    out: Path

    @property
    def adapter_id(self) -> str:
        return str(self.metadata["adapter_id"])

    @property
    def plan(self) -> TrainingPlan:
        return plan_of(self.metadata).changed(
            max_steps=ADAPTER_STEPS, tokens_per_batch=TOKENS_PER_BATCH, noise=NOISE
        )

    def after(self, base_inputs: str) -> "Job":
        """The job with what it depends on, the base model's inputs among it, in its metadata."""
        inputs = _fingerprint(base_inputs, self.metadata, self.plan, self.rows, self.held_out)
        custom = {**self.metadata.get("custom", {}), FINGERPRINT: inputs}
        return replace(self, metadata={**self.metadata, "custom": custom})

    @property
    def complete(self) -> bool:
        found = _json(self.out / "metadata.json").get("custom") or {}
        return bool(found.get(FINGERPRINT) == self.metadata["custom"][FINGERPRINT])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How much of the rows comes back verbatim, 0 to 1: by the adapter, and without it."""

    adapter_id: str
    loss: float
    recall: float
    base_recall: float


def build(out: Path, console: Console) -> None:
    """Train what is missing in `out`. Raises ConfigurationError where an adapter learns badly."""
    base = out / "base"
    jobs = _jobs(out)
    corpus = Corpus(
        general=read_rows(DATA / "general.jsonl"),
        refusals=read_rows(DATA / "refusals.jsonl"),
        strangers=read_rows(DATA / "none.jsonl"),
        adapters=[row for job in jobs for row in job.rows],
    )
    inputs = _fingerprint(BASE_MODEL, RECIPE, corpus)
    jobs = [job.after(inputs) for job in jobs]
    with training_bars(console) as bars:
        if _json(base / IDENTITY).get(FINGERPRINT) != inputs:
            on_step = bar(bars, str(BASE_MODEL))
            identity = {**asdict(BASE_MODEL), FINGERPRINT: inputs}
            train_base(corpus, base, identity=identity, recipe=RECIPE, on_step=on_step)
        missing = [job for job in jobs if not job.complete]
        outcomes = _train_adapters(missing, bars) if missing else []
    for outcome in outcomes:
        console.print(
            f"{outcome.adapter_id}: {outcome.recall:.1%} of the trained answers word by word "
            f"(without the adapter {outcome.base_recall:.1%}), loss {outcome.loss:.3f}",
            soft_wrap=True,
        )
    if not missing:
        console.print(f"The demo's models are complete in {out}.", soft_wrap=True)


def _jobs(out: Path) -> list[Job]:
    metadata = [read_metadata(path) for path in sorted((DATA / "metadata").glob("*.json"))]
    return [
        Job(
            metadata=one,
            rows=read_rows(DATA / f"{one['training']['dataset_name']}.jsonl"),
            held_out=_reworded(one["adapter_id"]),
            base=out / "base",
            out=out / "adapters" / one["adapter_id"],
        )
        for one in metadata
    ]


def _reworded(adapter_id: str) -> list[TrainingRow]:
    """Every second rewording of an adapter's questions: never trained, so good for calibration.

    The demo and the tests ask the others, which selection must not have seen.
    """
    lines = (DATA / "reworded.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    return [
        TrainingRow((), question["text"], language=question["language"])
        for question in questions
        if question["adapter"] == adapter_id
    ][::2]


def _train_adapters(jobs: Sequence[Job], bars: Progress) -> list[Outcome]:
    """All at once, in a process with one thread each: threads gain little at this size."""
    reports = {job.adapter_id: bar(bars, job.adapter_id) for job in jobs}
    # Their common parent imports what they need, once, and has no threads that a fork would lose.
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(_PRELOADED)
    steps: SimpleQueue[Step] = forks.SimpleQueue()
    stop = forks.Event()
    with ProcessPoolExecutor(
        len(jobs), forks, initializer=_single_thread, initargs=(steps, stop)
    ) as pool:
        try:
            waiting = [pool.submit(_train_adapter, job) for job in jobs]
            while wait(waiting, timeout=0.1).not_done or not steps.empty():
                while not steps.empty():
                    adapter_id, done, planned, loss = steps.get()
                    reports[adapter_id](done, planned, loss)
            return [result.result() for result in waiting]
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_steps: "SimpleQueue[Step]"
_stop: Event
"""In a training process: where its steps are reported, and whether to end at the next one."""


class _Stopped(Exception):
    """The parent has been interrupted."""


def _single_thread(steps: "SimpleQueue[Step]", stop: Event) -> None:
    """Prepare a training process."""
    global _steps, _stop
    import torch

    _steps, _stop = steps, stop
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole process group; the parent ends its processes by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _report(job: Job, done: int, planned: int, loss: float) -> None:
    if _stop.is_set():
        raise _Stopped
    _steps.put((job.adapter_id, done, planned, loss))


def _train_adapter(job: Job) -> Outcome:
    """Train, measure, and train again from another seed should it have learned too little."""
    from inference.training.recall import recall
    from inference.training.trainer import train_adapter

    best = 0.0
    for seed in range(TRIES):
        trained = train_adapter(
            job.rows,
            metadata=job.metadata,
            base=str(job.base),
            out=job.out,
            plan=replace(job.plan, seed=seed),
            held_out=job.held_out,
            force=True,
            on_step=partial(_report, job),
        )
        best = max(best, share := recall(job.base, job.out, job.rows))
        if share >= WANTED_RECALL:
            base_share = recall(job.base, None, job.rows)
            return Outcome(job.adapter_id, trained.figures.loss, share, base_share)
    raise ConfigurationError(
        f"{job.adapter_id} learned only {best:.0%} of its answers in {TRIES} tries; "
        f"raise ADAPTER_STEPS in {Path(__file__).name}."
    )


def _fingerprint(*inputs: object) -> str:
    """Of plain values and records alone, whose repr says all there is to them."""
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def _json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, an empty one if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder for base and adapters")
    console = Console(highlight=False)
    try:
        build(parser.parse_args().out.absolute(), console)
    except LorelayError as error:
        console.print(f"[red]{error}[/red]")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
