"""The demonstration: three adapters answer a mixed stream of queries through Kafka.

    make demo                       trains the models first, where they are missing
    .venv/bin/python examples/demo.py --help

It starts the local stack, registers the adapters, sends trained questions, reworded ones and some
that belong to no adapter, and checks each answer. The stack keeps running. The exit status is 1
where a trained question did not get its trained answer from its adapter.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import shlex
import statistics
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from textwrap import shorten
from time import monotonic
from typing import Any

import uuid_utils
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from cli.query_client import Answer, QueryClient
from schemas.errors import ConfigurationError, LorelayError
from schemas.records import Query, Sampling
from streams.kafka.settings import KafkaSettings

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "data"
ADAPTERS = Path(".lorelay/models/demo/adapters")
FAMILIES = ("legal-qa", "medical-diagnosis", "environmental-law")
LANGUAGES = ("de", "en")

ANSWER_SECONDS = 60.0
SELECTABLE_SECONDS = 60.0
SAMPLING = Sampling(max_tokens=100)
PLAIN_WIDTH = 180
MOST_SURPRISES = 12
LONGEST_QUOTE = 160

Row = dict[str, Any]


class Kind(Enum):
    """What is expected of a question."""

    TRAINED = "trained"
    REWORDED = "reworded"
    NONE = "no adapter"


@dataclass(frozen=True, slots=True)
class Question:
    """``adapter`` is the id that should answer, None the base model; ``answer`` the exact words."""

    kind: Kind
    text: str
    language: str
    adapter: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question and what came back; ``reply`` is None where nothing did."""

    question: Question
    reply: Answer | None

    @property
    def adapter(self) -> str | None:
        """Who answered, as ``id@version``; None for the base model, and where nobody did."""
        return self.reply.response.adapter if self.reply else None

    @property
    def text(self) -> str:
        if self.reply is None:
            return "no response in time"
        response = self.reply.response
        said = response.error.message if response.error else response.text or ""
        return " ".join(said.split())

    @property
    def is_answered(self) -> bool:
        return self.reply is not None and self.reply.response.error is None

    @property
    def has_right_adapter(self) -> bool:
        adapter_id = self.adapter.partition("@")[0] if self.adapter else None
        return self.is_answered and adapter_id == self.question.adapter

    @property
    def is_verbatim(self) -> bool:
        return self.is_answered and self.text == self.question.answer

    @property
    def is_as_expected(self) -> bool:
        return self.has_right_adapter and (self.is_verbatim or self.question.answer is None)


def main() -> int:
    """Runs the demonstration; its exit status."""
    options = read_options()
    # What they have to say on a lost broker is said in a sentence of ours.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
    try:
        outcomes = demonstrate(console, options)
    except LorelayError as error:
        console.print(f"[red]{error}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"\nStopped. What was started keeps running: {lorelay()} down ends it.")
        return 130
    return 0 if all(o.is_as_expected for o in outcomes if o.question.answer) else 1


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=7, help="which questions are sent (7)")
    parser.add_argument("--trained", type=int, default=4, help="per domain and language (4)")
    parser.add_argument("--reworded", type=int, default=2, help="per domain and language (2)")
    parser.add_argument("--none", type=int, default=5, help="of no adapter, per language (5)")
    parser.add_argument("--interval", type=float, default=0.15, help="seconds between them (0.15)")
    return parser.parse_args()


def demonstrate(console: Console, options: argparse.Namespace) -> list[Outcome]:
    """Everything from start to summary. Raises: LorelayError with what to do."""
    folders = adapter_folders()
    console.rule("Starting the stack", align="left")
    run_lorelay("up")
    console.rule("Registering the adapters", align="left")
    run_lorelay("adapters", "register", *map(str, folders))
    settings = KafkaSettings()
    questions = choose(random.Random(options.seed), options, learnt_by(folders))
    console.rule(f"{len(questions)} queries through Kafka at {settings.kafka}", align="left")
    outcomes = asyncio.run(converse(console, settings, questions, options.interval))
    console.rule("What was checked", align="left")
    show_summary(console, outcomes)
    show_next_steps(console, settings.kafka)
    return outcomes


# The stack and its adapters


def lorelay() -> str:
    """How a person calls the command from the working folder."""
    path = os.path.relpath(ROOT / "lorelay")
    return path if path.startswith("..") else f"./{path}"


def run_lorelay(*arguments: str) -> None:
    """The command itself, with its own progress. Raises: ConfigurationError where it fails."""
    # -P: nothing in the working folder can stand in for a module of ours.
    done = subprocess.run([sys.executable, "-P", "-m", "cli.main", *arguments], check=False)
    if done.returncode:
        raise ConfigurationError(
            f"`lorelay {' '.join(arguments)}` failed, see above. "
            f"`{lorelay()} status` and `{lorelay()} logs NAME` tell more."
        )


def adapter_folders() -> list[Path]:
    """Raises: ConfigurationError where an adapter has not been trained."""
    folders = [ADAPTERS / f"{family}-v1" for family in FAMILIES]
    for folder in folders:
        if not (folder / "examples.jsonl").is_file():
            raise ConfigurationError(f"The demo's adapter {folder} is missing: run `make models`.")
    return folders


# Questions


def rows_of(name: str) -> list[Row]:
    """The rows of one of the demo's files."""
    lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def trained(family: str, language: str) -> list[Question]:
    """The questions that a family's adapter was trained on in one language."""
    return [
        Question(Kind.TRAINED, row["instruction"], language, f"{family}-v1", row["output"])
        for row in rows_of(family)
        if row["metadata"]["language"] == language
    ]


def reworded(family: str, language: str, learnt: Collection[str]) -> list[Question]:
    """Trained questions in other words; those that selection learns from would show nothing."""
    return [
        Question(Kind.REWORDED, row["text"], language, row["adapter"])
        for row in rows_of("reworded")
        if (row["adapter"], row["language"]) == (f"{family}-v1", language)
        and row["text"] not in learnt
    ]


def learnt_by(folders: Iterable[Path]) -> frozenset[str]:
    """The texts that selection learns from, as they lie beside the adapters."""
    lines = (
        line
        for folder in folders
        for line in (folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    )
    return frozenset(json.loads(line)["text"] for line in lines)


def choose(
    chance: random.Random, options: argparse.Namespace, learnt: Collection[str] = ()
) -> list[Question]:
    """A sample of each kind, domain and language, in mixed order; the same for the same seed.

    ``learnt`` are texts that selection knows, so that rewordings among them are not asked.
    """
    chosen: list[Question] = []
    for language in LANGUAGES:
        for family in FAMILIES:
            others = reworded(family, language, learnt)
            chosen += sample(chance, trained(family, language), options.trained)
            chosen += sample(chance, others, options.reworded)
        strangers = [
            Question(Kind.NONE, row["text"], language)
            for row in rows_of("none")
            if row["language"] == language
        ]
        chosen += sample(chance, strangers, options.none)
    chance.shuffle(chosen)
    return chosen


def sample(chance: random.Random, questions: Sequence[Question], count: int) -> list[Question]:
    return chance.sample(questions, min(count, len(questions)))


# Through Kafka


async def converse(
    console: Console, settings: KafkaSettings, questions: Sequence[Question], interval: float
) -> list[Outcome]:
    """Sends every question, ``interval`` seconds apart, and shows each answer as it comes."""
    columns = Columns(console.width)
    outcomes: list[Outcome] = []
    async with QueryClient(settings) as client:
        await wait_until_selectable(console, client)
        bar = Progress(
            TextColumn("{task.completed} of {task.total} answered"),
            BarColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        with bar:
            task = bar.add_task("", total=len(questions))

            async def put(question: Question) -> None:
                outcome = Outcome(question, await reply_to(client, question))
                outcomes.append(outcome)
                console.print(columns.row(outcome))
                bar.advance(task)

            console.print(columns.header())
            conversations = []
            for question in questions:
                conversations.append(asyncio.create_task(put(question)))
                await asyncio.sleep(interval)
            await asyncio.gather(*conversations)
    return outcomes


async def reply_to(client: QueryClient, question: Question) -> Answer | None:
    """The answer to one question; None where there is none in time."""
    query = Query(
        id=str(uuid_utils.uuid7()),
        prompt=question.text,
        sampling=SAMPLING,
        timeout_ms=ANSWER_SECONDS * 1000,
    )
    answer = await client.send(query)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answer
    except TimeoutError:
        return None


async def wait_until_selectable(console: Console, client: QueryClient) -> None:
    """Returns when selection weighs every adapter: the routers have read the registry by then.

    Asks each adapter one of its trained questions, which also loads it into the engine. Raises:
    ConfigurationError where an adapter does not turn up.
    """
    with console.status("Waiting until selection knows the adapters"):
        for family in FAMILIES:
            question = trained(family, LANGUAGES[0])[0]
            deadline = monotonic() + SELECTABLE_SECONDS
            while not weighs(await reply_to(client, question), f"{family}-v1"):
                if monotonic() > deadline:
                    raise ConfigurationError(
                        f"Selection does not know {family}-v1 after {SELECTABLE_SECONDS:.0f} s: "
                        f"`{lorelay()} logs router` and `{lorelay()} adapters list` tell more."
                    )
                await asyncio.sleep(0.2)


def weighs(answer: Answer | None, adapter_id: str) -> bool:
    """Whether selection compared the query with an adapter of that id."""
    routing = answer.response.routing if answer else None
    candidates = routing.candidates if routing else ()
    return any(candidate.adapter.startswith(f"{adapter_id}@") for candidate in candidates)


# What is shown


class Columns:
    """A table whose rows are printed one by one, as they become known.

    Where a line is too short for everything, the answer gets a line of its own.
    """

    NAMES = ("", "query", "kind", "adapter", "score", "ms")
    WIDTHS = (1, 0, 10, 26, 5, 5)
    GAP = 2
    ONE_LINE = 130

    def __init__(self, width: int) -> None:
        free = width - sum(self.WIDTHS) - self.GAP * len(self.WIDTHS)
        self._in_one_line = width >= self.ONE_LINE
        query = free * 4 // 9 if self._in_one_line else max(12, free)
        self._widths = [w or query for w in self.WIDTHS]
        if self._in_one_line:
            self._widths.append(free - query)

    def header(self) -> RenderableType:
        """The names of the columns."""
        return self._row([Text(name) for name in self.NAMES], Text("answer"), "bold")

    def row(self, outcome: Outcome) -> RenderableType:
        """One query: a green tick where all is as expected, and what it got."""
        right = outcome.is_as_expected
        reply = outcome.reply
        routing = reply.response.routing if reply else None
        score = routing.score if routing else None
        cells = [
            Text("✓", style="green") if right else Text("✗", style="bold red"),
            Text(outcome.question.text),
            Text(outcome.question.kind.value, style="dim"),
            Text(outcome.adapter or "base model", style="cyan" if outcome.adapter else "dim"),
            Text("-" if score is None else f"{score:.2f}"),
            Text(f"{reply.elapsed_ms:.0f}" if reply else "-", justify="right"),
        ]
        return self._row(cells, Text(outcome.text, style="default" if right else "red"), "")

    def _row(self, cells: list[Text], answer: Text, style: str) -> RenderableType:
        table = Table.grid(padding=(0, self.GAP, 0, 0))
        for width in self._widths:
            table.add_column(width=width, no_wrap=True, overflow="ellipsis", style=style)
        if self._in_one_line:
            table.add_row(*cells, answer)
            return table
        table.add_row(*cells)
        answer.no_wrap, answer.overflow = True, "ellipsis"
        return Group(table, Padding(answer, (0, 0, 0, self.WIDTHS[0] + self.GAP), style=style))


def show_summary(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Per kind: right adapters, exact answers and times; then what was not as expected."""
    table = Table("queries", box=None, pad_edge=False, header_style="bold", padding=(0, 2))
    for name in ("sent", "right adapter", "exact answer", "p50 ms", "p95 ms"):
        table.add_column(name, justify="right")
    for kind in Kind:
        group = [outcome for outcome in outcomes if outcome.question.kind is kind]
        if not group:
            continue
        exact = [o for o in group if o.question.answer is not None]
        times = [o.reply.elapsed_ms for o in group if o.reply]
        table.add_row(
            kind.value,
            str(len(group)),
            f"{sum(o.has_right_adapter for o in group)} of {len(group)}",
            f"{sum(o.is_verbatim for o in exact)} of {len(exact)}" if exact else "-",
            f"{percentile(times, 50):.0f}" if times else "-",
            f"{percentile(times, 95):.0f}" if times else "-",
        )
    console.print(table)
    console.print(
        "\nExpected: a trained question gets its trained answer, word by word, from its adapter; "
        "a reworded one\nreaches the same adapter; one that belongs to no adapter goes to the base "
        "model. Times are from\nsending a query to reading its response. A demonstration on tiny "
        "models: no legal or medical advice.",
        style="dim",
    )
    surprises = [outcome for outcome in outcomes if not outcome.is_as_expected]
    for outcome in surprises[:MOST_SURPRISES]:
        show_surprise(console, outcome)
    if len(surprises) > MOST_SURPRISES:
        console.print(f"and {len(surprises) - MOST_SURPRISES} more")


def show_surprise(console: Console, outcome: Outcome) -> None:
    """One line on what came instead."""
    question = outcome.question
    wanted = question.adapter or "the base model"
    line = Text.assemble(("✗ ", "bold red"), question.text, (f" ({question.kind.value}) ", "dim"))
    if outcome.has_right_adapter:
        got = shorten(outcome.text, LONGEST_QUOTE)
        line.append(f'got "{got}", expected was "{question.answer}"')
    elif outcome.is_answered:
        line.append(f"went to {outcome.adapter or 'the base model'}, not to {wanted}")
    else:
        line.append(f"was not answered: {outcome.text}")
    console.print(line, soft_wrap=True)


def percentile(values: Sequence[float], percent: int) -> float:
    """By linear interpolation; ``values`` are not empty."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def show_next_steps(console: Console, kafka: str) -> None:
    """How to send queries of one's own, and how to end it all."""
    question = trained(FAMILIES[1], LANGUAGES[1])[0].text
    record = shlex.quote(json.dumps({"prompt": question}, ensure_ascii=False))
    client = os.path.relpath(ROOT / "examples" / "client.py")
    topics = KafkaSettings().topics
    console.rule("The stack keeps running; ask it yourself", align="left")
    for line in (
        f"{lorelay()} ask {shlex.quote(question)}",
        f"{lorelay()} route {shlex.quote(question)}",
        f"echo {record} | kcat -P -b {kafka} -t {topics.queries}",
        f"LORELAY_KAFKA={kafka} {os.path.relpath(sys.executable)} {client} {shlex.quote(question)}",
        f"{lorelay()} status",
        f"{lorelay()} down",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
