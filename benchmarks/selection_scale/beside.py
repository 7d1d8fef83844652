"""What learning costs the queries that are selected meanwhile."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from statistics import median
from threading import Event
from time import perf_counter, sleep

from benchmarks.figures import Aim, Figures, percentile
from benchmarks.queries import questions
from schemas.records import Example
from streams.garbage import spare_what_is_there
from streams.registry.reader import Registry
from streams.router.knowledge import Knowledge
from streams.selection.encoder import Encoder
from streams.selection.encoder_process import EncoderProcess
from streams.selection.selector import Selector

_LEARNT = 10_000
_ADAPTERS = 30
_SIZES = (1, 16, 128)
_ALONE_SECONDS = 10.0
_TICK_SECONDS = 0.001
#: As routers have it.
_SWITCH_SECONDS = 0.0005
_STALL = Aim(50, at_most=True)


@dataclass(frozen=True, slots=True)
class Seen:
    """In ms: how long each call took, and by how much each tick of an event loop came late."""

    calls: list[float]
    lateness: list[float]


def measure(figures: Figures) -> None:
    """Selects batch after batch, as a router's thread does, without and with learning beside."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    with closing(EncoderProcess()) as encoder:
        _measure(encoder, figures)


def _measure(encoder: Encoder, figures: Figures) -> None:
    selector = Selector(encoder)
    texts = [question.text for question in questions()]
    parts = [[Example(text) for text in texts[n::_ADAPTERS]] for n in range(_ADAPTERS)]
    selector.change({f"adapter-{n}": selector.study(part) for n, part in enumerate(parts)})
    large = [Example(f"{texts[n % len(texts)]} {n}") for n in range(_LEARNT)]
    with ThreadPoolExecutor(1) as executor:
        knowledge = Knowledge(selector, Registry(), executor)
        for size in _SIZES:
            select = _selecting(knowledge, texts, size)
            select()
            spare_what_is_there()
            alone = seen(select, partial(sleep, _ALONE_SECONDS))
            started = perf_counter()
            beside = seen(select, partial(_learn, selector, knowledge, large))
            _add(figures, size, alone, beside, perf_counter() - started)
            selector.forget("large")


def _learn(selector: Selector, knowledge: Knowledge, examples: Sequence[Example]) -> None:
    """As a router learns a version."""
    studied = selector.study(examples, (), knowledge.give_way)
    selector.change({"large": studied}, knowledge.give_way)


def _selecting(knowledge: Knowledge, texts: Sequence[str], size: int) -> Callable[[], None]:
    """Selects the next batch of the texts at each call."""
    batches = cycle([texts[start : start + size] for start in range(0, len(texts) - size, size)])

    def select() -> None:
        knowledge.select(next(batches), [None] * size)

    return select


def _add(figures: Figures, size: int, alone: Seen, beside: Seen, seconds: float) -> None:
    group = f"{size} at once, {_LEARNT:,} examples beside"
    for name, found in (("alone", alone), ("beside", beside)):
        figures.add(group, f"{name}: median", median(found.calls), "ms")
        figures.add(group, f"{name}: 99 %", percentile(found.calls, 0.99), "ms")
        figures.add(group, f"{name}: longest", max(found.calls), "ms")
        figures.add(group, f"{name}: longest wait of an event loop", max(found.lateness), "ms")
    stall = max(beside.calls) - median(alone.calls)
    figures.add(
        group, "longest stall: the longest beside over the median alone", stall, "ms", _STALL
    )
    figures.add(group, "learning took", seconds, "s")


def seen(work: Callable[[], object], during: Callable[[], object]) -> Seen:
    """Calls ``work`` over and over in one thread, while ``during`` runs in another."""
    ended = Event()
    with ThreadPoolExecutor(2) as threads:
        calls = threads.submit(_durations, work, ended)
        other = threads.submit(during)
        other.add_done_callback(lambda _: ended.set())
        ticks = _durations(partial(sleep, _TICK_SECONDS), ended)
        other.result()
        return Seen(calls.result(), [ms - 1000 * _TICK_SECONDS for ms in ticks])


def _durations(work: Callable[[], object], ended: Event) -> list[float]:
    spent = []
    while not ended.is_set():
        started = perf_counter()
        work()
        spent.append((perf_counter() - started) * 1000)
    return spent
