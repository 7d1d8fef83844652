"""What the router selects by: an encoder and a selector kept in step with the registry."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from threading import Condition, Lock
from time import perf_counter

from streams.registry.reader import Registry, Selectable
from streams.selection.decision import Decision
from streams.selection.drift import Calibration
from streams.selection.encoder import Encoder
from streams.selection.selector import Learnt, Selector

log = logging.getLogger(__name__)

#: How long what was studied waits for more, at least, and as a multiple of what the last change
#: took: each one fits anew what depends on neighbours.
PORTION_SECONDS = 5.0
_STUDY_SHARE = 3.0
#: How long a step of learning waits for queries, at most.
_PATIENCE_SECONDS = 0.05


class Knowledge:
    """The adapters that selection chooses from.

    `select` runs in `executor`, the learning in a thread of its own that stands back while
    something is selected: a large adapter is learnt beside live traffic, not in its way.
    ``encoder`` is for queries, by default the selector's own, by which examples are encoded.
    """

    def __init__(
        self,
        selector: Selector,
        registry: Registry,
        executor: Executor,
        encoder: Encoder | None = None,
        portion_seconds: float = PORTION_SECONDS,
    ) -> None:
        self._selector = selector
        self._registry = registry
        self._executor = executor
        self._encoder = encoder or selector.encoder
        self._portion_seconds = portion_seconds
        self._scoring = Lock()
        self._ended = Condition()
        #: Calls of `select` that go on.
        self._selecting = 0
        #: Families by ``id@version``.
        self._learnt: dict[str, str] = {}
        self._listeners: list[Callable[[Mapping[str, Selectable]], None]] = []
        self._changed = asyncio.Event()

    @property
    def adapters(self) -> int:
        """How many adapter versions can be selected."""
        return len(self._learnt)

    @property
    def compared(self) -> tuple[str, ...]:
        """The adapter versions that a text is compared with now, sorted."""
        return self._selector.adapters

    def calibrations(self) -> Mapping[str, Calibration]:
        """What the thresholds of each adapter version were fitted on, and what came of it."""
        return self._selector.calibrations()

    def on_learnt(self, listener: Callable[[Mapping[str, Selectable]], None]) -> None:
        """Calls it after each change, in some thread, with all that is learnt then."""
        self._listeners.append(listener)

    def select(self, texts: Sequence[str], languages: Sequence[str | None]) -> list[Decision]:
        """A decision for each text; from several threads one encodes while another one scores."""
        with self._busy():
            vectors = self._encoder.encode(texts)
            with self._scoring:
                return self._selector.select(vectors, texts, languages)

    def give_way(self) -> None:
        """Waits until what is selected now is, but not for long: queries may never pause."""
        with self._ended:
            if self._selecting:
                self._ended.wait(_PATIENCE_SECONDS)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        with self._ended:
            self._selecting += 1
        try:
            yield
        finally:
            with self._ended:
                self._selecting -= 1
                self._ended.notify_all()

    def on_registry_change(self) -> None:
        """To be called when the registry has changed."""
        self._changed.set()

    async def warm_up(self) -> None:
        """Pays for what loads on first use before a query has to."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self.select, ["Warm up."], [None])

    async def follow(self) -> None:
        """Learns and forgets as the registry changes, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.refresh()

    async def refresh(self, report: Callable[[str], None] | None = None) -> None:
        """Makes the selector know just the registry's selectable versions.

        What is no longer served goes first. A version that another one of its family follows goes
        as that one comes, so that there is no time without either. Of many the first needn't wait
        for the last: what is studied is put to use in portions. With ``report``, which is told how
        far it has come, nothing waits for any of them, and all are put to use at once.
        """
        wanted = self._registry.selectable()
        new = sorted(wanted.keys() - self._learnt.keys())
        followed = self._followed({wanted[key].version.family: key for key in new})
        gone = self._learnt.keys() - wanted.keys() - set(followed.values())
        await self._apply(dict.fromkeys(gone), wanted)
        portion: dict[str, Learnt | None] = {}
        due = perf_counter() + self._portion_seconds
        for number, key in enumerate(new):
            if report is not None:
                report(f"learning adapters: {100 * number // len(new)} % of {len(new)}")
            entry = wanted[key]
            portion[key] = await asyncio.to_thread(
                self._selector.study, entry.examples, entry.languages, self.give_way
            )
            if key in followed:
                portion[followed[key]] = None
            if report is None and perf_counter() > due:
                spent = await self._apply(portion, wanted)
                portion, due = {}, perf_counter() + max(self._portion_seconds, _STUDY_SHARE * spent)
        if report is not None:
            report(f"learning to tell {len(portion)} adapters apart")
        await self._apply(portion, wanted)
        for listener in self._listeners:
            await asyncio.to_thread(listener, wanted)

    def _followed(self, new: Mapping[str, str]) -> dict[str, str]:
        """By new version: the one that it follows and that is still served; ``new`` by family."""
        return {
            new[family]: old
            for old, family in self._learnt.items()
            if family in new and self._registry.is_servable(old)
        }

    async def _apply(
        self, changes: Mapping[str, Learnt | None], wanted: Mapping[str, Selectable]
    ) -> float:
        """Returns the seconds that it took."""
        started = perf_counter()
        if changes:
            await asyncio.to_thread(self._selector.change, changes, self.give_way)
        for key, learnt in changes.items():
            if learnt is None:
                self._learnt.pop(key, None)
                log.info("selection forgot %s", key)
            else:
                self._learnt[key] = wanted[key].version.family
                log.info("selection learnt %s from %d examples", key, len(wanted[key].examples))
        return perf_counter() - started
