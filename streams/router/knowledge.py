"""What the router selects by: an encoder and a selector kept in step with the registry."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from streams.registry.reader import Registry, Selectable
from streams.selection.decision import Decision
from streams.selection.drift import Calibration
from streams.selection.selector import Selector

log = logging.getLogger(__name__)


class Knowledge:
    """The adapters that selection chooses from.

    `select` runs in `executor`, the learning in a thread of its own: a large adapter's examples
    are encoded beside live traffic, not in its way.
    """

    def __init__(self, selector: Selector, registry: Registry, executor: Executor) -> None:
        self._selector = selector
        self._registry = registry
        self._executor = executor
        self._learnt: set[str] = set()
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
        """A decision for each text."""
        return self._selector.select(self._selector.encoder.encode(texts), texts, languages)

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

    async def refresh(self) -> None:
        """Makes the selector know just the registry's selectable versions."""
        wanted = self._registry.selectable()
        for key in self._learnt - wanted.keys():
            await asyncio.to_thread(self._selector.forget, key)
            self._learnt.discard(key)
            log.info("selection forgot %s", key)
        for key in wanted.keys() - self._learnt:
            entry = wanted[key]
            await asyncio.to_thread(self._selector.learn, key, entry.examples, entry.languages)
            self._learnt.add(key)
            log.info("selection learnt %s from %d examples", key, len(entry.examples))
        for listener in self._listeners:
            await asyncio.to_thread(listener, wanted)
