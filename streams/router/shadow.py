"""A second selector beside the deciding one: what it would have decided otherwise."""

import asyncio
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from queue import Full, Queue
from threading import Event, Thread, get_native_id
from typing import Literal, NamedTuple

from schemas.errors import LorelayError
from streams.registry.reader import Selectable
from streams.router.decisions import Selected
from streams.router.knowledge import Knowledge
from streams.selection.encoder import readable
from streams.selection.selector import Selector
from streams.telemetry.selection import SelectionMetrics

log = logging.getLogger(__name__)

Outcome = Literal["same", "other_adapter", "shadow_rejects", "shadow_accepts", "dropped", "failed"]

#: Batches that wait for the shadow; what comes while it has so many is dropped.
_MOST_WAITING = 16
# On two busy cores routing fell to half with a shadow of the same priority (MiniLM), and stayed
# what it was with one of the lowest.
_NICENESS = 19
_STOP_SECONDS = 2.0


def outcome(live: str | None, shadow: str | None) -> Outcome:
    """How the shadow's choice stands to the one that counts; None is the base model."""
    if shadow == live:
        return "same"
    if shadow is None:
        return "shadow_rejects"
    return "shadow_accepts" if live is None else "other_adapter"


class _Batch(NamedTuple):
    """Queries, and the adapters that the deciding selector compared them with."""

    adapters: tuple[str, ...]
    queries: Sequence[Selected]


class Shadow:
    """Runs a selector on the queries that were decided already, and counts how they differ.

    It has a thread of its own, of the lowest priority, in which the selector is built, learns and
    selects. Nothing waits for that thread: batches that it can't take are dropped, and whatever it
    raises is counted and logged, each type of error once.
    """

    def __init__(
        self, build: Callable[[], Selector], knowledge: Knowledge, metrics: SelectionMetrics
    ) -> None:
        self._build = build
        self._knowledge = knowledge
        self._metrics = metrics
        self._queue = Queue[_Batch](_MOST_WAITING)
        #: What the deciding selector has learnt, and how much of that this one has looked at.
        self._wanted: Mapping[str, Selectable] = {}
        self._seen: Mapping[str, Selectable] = self._wanted
        self._is_stopping = Event()
        self._reported: set[type[Exception]] = set()
        # As a daemon it holds no process back that wants to end, whatever it hangs in.
        self._thread = Thread(target=self._run, name="shadow", daemon=True)
        knowledge.on_learnt(self._follow)

    async def start(self) -> None:
        """Returns at once: queries may be offered while the selector is still being built."""
        self._thread.start()

    async def stop(self) -> None:
        """Waits for the batch that is being worked on, but not for long."""
        self._is_stopping.set()
        self._put(())
        await asyncio.to_thread(self._thread.join, _STOP_SECONDS)

    def offer(self, queries: Sequence[Selected]) -> None:
        """Takes queries that are decided; from one thread, which is never held up."""
        # Of a long text no more is kept than an encoder reads.
        if not self._put([query._replace(text=readable(query.text)) for query in queries]):
            self._count(queries, ["dropped"] * len(queries))

    def _follow(self, learnt: Mapping[str, Selectable]) -> None:
        self._wanted = learnt
        self._put(())

    def _put(self, queries: Sequence[Selected]) -> bool:
        try:
            self._queue.put_nowait(_Batch(self._knowledge.compared, queries))
        except Full:
            return False
        return True

    def _run(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICENESS)
        selector = self._built()
        while not self._is_stopping.is_set():
            batch = self._queue.get()
            self._count(batch.queries, self._outcomes(selector, batch))

    def _built(self) -> Selector | None:
        try:
            return self._build()
        except Exception as error:
            self._report(error)
            return None

    def _outcomes(self, selector: Selector | None, batch: _Batch) -> list[Outcome]:
        if selector is None:
            return ["failed"] * len(batch.queries)
        try:
            self._learn(selector)
            if not batch.queries or selector.adapters != batch.adapters:
                return ["dropped"] * len(batch.queries)
            return self._compared(selector, batch.queries)
        except Exception as error:
            self._report(error)
            return ["failed"] * len(batch.queries)

    def _learn(self, selector: Selector) -> None:
        wanted = self._wanted
        if wanted is self._seen:
            return
        self._seen = wanted
        known = set(selector.adapters)
        new = {
            key: selector.study(wanted[key].examples, wanted[key].languages)
            for key in wanted.keys() - known
        }
        selector.change({**dict.fromkeys(known - wanted.keys()), **new})

    def _compared(self, selector: Selector, queries: Sequence[Selected]) -> list[Outcome]:
        texts = [query.text for query in queries]
        decisions = selector.select(
            selector.encoder.encode(texts), texts, [query.language for query in queries]
        )
        outcomes = []
        for query, decision in zip(queries, decisions, strict=True):
            live, shadow = query.routing.adapter, decision.adapter
            found = outcome(live, shadow)
            if found != "same":
                log.debug("%s: %s, in shadow %s (%s)", query.origin, live, shadow, found)
            outcomes.append(found)
        return outcomes

    def _count(self, queries: Sequence[Selected], outcomes: Sequence[Outcome]) -> None:
        adapters = (query.routing.adapter for query in queries)
        for (adapter, found), times in Counter(zip(adapters, outcomes, strict=True)).items():
            self._metrics.count_shadow(adapter, found, times)

    def _report(self, error: Exception) -> None:
        if type(error) not in self._reported:
            self._reported.add(type(error))
            trace = None if isinstance(error, LorelayError) else error
            log.error("the shadow selector failed, queries go on: %s", error, exc_info=trace)
