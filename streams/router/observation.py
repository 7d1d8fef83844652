"""What is learnt from the selections that a router makes; it changes none of them."""

from collections.abc import Callable, Sequence
from time import monotonic

from schemas.records import Routing
from streams.router.decisions import Selected
from streams.router.knowledge import Knowledge
from streams.router.shadow import Shadow
from streams.selection.drift import DriftWatch
from streams.telemetry.metrics import choice_of
from streams.telemetry.selection import SelectionMetrics


class Observation:
    """Counts scores, rejects and drift of every selection, and shows it to the shadow.

    Takes a few microseconds a query, in the thread that calls.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        metrics: SelectionMetrics,
        drift: DriftWatch,
        shadow: Shadow | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._metrics = metrics
        self._drift = drift
        self._shadow = shadow
        self._clock = clock
        metrics.show_drift(lambda: drift.readings(clock()))
        knowledge.on_learnt(lambda _: drift.follow(knowledge.calibrations()))

    def observe(self, selections: Sequence[Selected]) -> None:
        """Takes note of a batch."""
        now = self._clock()
        for selected in selections:
            self._observe(selected.routing, now)
        if self._shadow is not None:
            self._shadow.offer(selections)

    def _observe(self, routing: Routing, now: float) -> None:
        score, threshold = routing.score, routing.threshold
        if score is None:
            return
        nearest = routing.candidates[0].adapter
        language = self._drift.language(nearest, routing.language)
        self._metrics.observe(nearest, language, choice_of(routing), score)
        if threshold is not None and score >= threshold:
            self._drift.observe(nearest, language, score, now)
