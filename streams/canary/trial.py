"""A canary's trial: windows in, a verdict out. Pure.

Windows are weighed in order of their time, each once it is complete, so that whoever follows the
trial from the same records comes to the same evidence: a judge that takes over goes on where the
one before has stopped. docs/versions.md tells what is decided when.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from heapq import heappop, heappush
from typing import Final

from schemas.records import AdapterMetrics, Canary, Feedback, Response
from streams.canary.comparison import Comparison, as_number
from streams.canary.measures import MARGINS, WORDS, Measure, Slowness, Window

ALPHA: Final = 0.05
"""How likely, at most, a trial ends badly for a version that is within all margins, and how likely
one is promoted that is outside of one that must be shown."""

PREHISTORY: Final = timedelta(minutes=5)
"""How far before its beginning a trial looks at the versions that serve."""

#: When all records of a window can be expected to be there: it is written two seconds after its
#: end, and seen a moment later.
_COMPLETE_AFTER: Final = timedelta(seconds=5)
#: Shown to be fine before a promotion. Ratings and rejects may be too few for that.
_REQUIRED: Final = (Measure.ERRORS, Measure.SLOW)


class Outcome(Enum):
    """How a trial ends."""

    PROMOTE = "promote"
    ROLL_BACK = "roll back"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ends, why, in a sentence, and on which figures."""

    outcome: Outcome
    reason: str
    figures: Mapping[str, float]


@dataclass(slots=True)
class _Stretch:
    """A window's records so far."""

    canary: Window = field(default_factory=Window)
    others: Window = field(default_factory=Window)


class Trial:
    """One canary beside the versions that serve, ``others``; each ``id@version``."""

    def __init__(self, plan: Canary, others: Collection[str], alpha: float = ALPHA) -> None:
        self.plan = plan
        self._others = frozenset(others)
        # By their ends and beginnings, which is the order they are weighed in: a heap.
        self._stretches: dict[tuple[datetime, datetime], _Stretch] = {}
        self._order: list[tuple[datetime, datetime]] = []
        self._weighed_until = datetime.min.replace(tzinfo=plan.started_at.tzinfo)
        # Of a shadow only the errors compare: it runs where there is room, not as others do.
        measures = (Measure.ERRORS,) if plan.shadow else tuple(Measure)
        self._comparisons = [
            Comparison(m, min(max(plan.tolerated.get(m.value, MARGINS[m]), 0.0), 0.99))
            for m in measures
        ]
        self._required = [m for m in _REQUIRED if m in measures]
        # An alarm of any of them ends the trial, so they share alpha; to be promoted a version
        # must pass all of those required, so each has the whole of it.
        self._log_worse = math.log(len(measures) / alpha)
        self._log_fine = math.log(1 / alpha)
        self._slowness = Slowness()
        self._canary_total, self._others_total = Window(), Window()
        self._rated: set[str] = set()

    def add_window(self, record: AdapterMetrics) -> None:
        """A record of the metrics topic; what queries named exactly is no part of the trial."""
        key = f"{record.adapter_id}@{record.adapter_version}"
        if record.variant is None:
            return
        if key == self.plan.adapter and not self.plan.shadow:
            self._stretch(record.window_start, record.window_end).canary.absorb(record)
        elif key in self._others:
            self._stretch(record.window_start, record.window_end).others.absorb(record)

    def add_feedback(self, feedback: Feedback, at: datetime) -> None:
        """A record of the feedback topic and its time; the first rating of a query counts."""
        if feedback.rating is None or math.isnan(feedback.rating) or at < self.plan.started_at:
            return
        if feedback.query_id in self._rated:
            return
        if feedback.adapter == self.plan.adapter and not self.plan.shadow:
            self._rated.add(feedback.query_id)
            self._at(at).canary.rate(feedback.rating)
        elif feedback.adapter in self._others:
            self._rated.add(feedback.query_id)
            self._at(at).others.rate(feedback.rating)

    def add_shadow(self, response: Response, at: datetime) -> None:
        """A record of the shadow topic and its time."""
        if not self.plan.shadow or at < self.plan.started_at:
            return
        if response.adapter == self.plan.adapter:
            window = self._at(at).canary
            window.num_requests += 1
            window.num_errors += response.status != "ok"

    def weigh(self, now: datetime, at_most: int) -> bool:
        """Weighs so many of the windows that are complete by then; True once none is left.

        `look` weighs what is.
        """
        for _ in range(at_most):
            if not self._order or self._order[0][0] + _COMPLETE_AFTER > now:
                return True
            end, start = heappop(self._order)
            self._weigh(self._stretches.pop((end, start)), is_before=end <= self.plan.started_at)
            self._weighed_until = end
        return False

    def look(self, now: datetime) -> Verdict | None:
        """What there is to decide at that time; None to go on."""
        self.weigh(now, len(self._order))
        if worse := self._worse():
            return Verdict(Outcome.ROLL_BACK, self._sentence_on(worse), self.figures())
        if now < self.plan.ends_at + _COMPLETE_AFTER:
            return None
        open_ones = [c for c in self._needed() if c.fine.highest < self._log_fine]
        if open_ones:
            return Verdict(Outcome.UNDECIDED, self._sentence_on_open(open_ones), self.figures())
        return Verdict(Outcome.PROMOTE, self._sentence_on_passed(), self.figures())

    def progress(self) -> Iterator[tuple[Measure, str, float]]:
        """Measure, towards what ("worse" or "fine"), and the part of the evidence it takes.

        1 decides. In logarithms, so that each answer adds about the same.
        """
        for comparison in self._comparisons:
            yield comparison.measure, "worse", float(comparison.worse.log) / self._log_worse
            yield comparison.measure, "fine", float(comparison.fine.highest) / self._log_fine

    def figures(self) -> dict[str, float]:
        """Everything that the verdict rests on, as it stands."""
        figures: dict[str, float] = {}
        for name, window in (("canary", self._canary_total), ("others", self._others_total)):
            figures |= {f"{name}_{key}": value for key, value in _summary(window).items()}
        slow_ms = self._slowness.threshold_ms()
        if slow_ms is not None and not self.plan.shadow:
            figures["slow_above_ms"] = slow_ms
        for comparison in self._comparisons:
            measure = comparison.measure.value
            if shares := comparison.shares():
                figures[f"canary_bad_{measure}"], figures[f"others_bad_{measure}"] = shares
            figures[f"margin_{measure}"] = comparison.margin
            figures[f"evidence_{measure}_worse"] = as_number(comparison.worse.highest)
            figures[f"evidence_{measure}_fine"] = as_number(comparison.fine.highest)
        figures["evidence_needed_worse"] = math.exp(self._log_worse)
        figures["evidence_needed_fine"] = math.exp(self._log_fine)
        return figures

    def _stretch(self, start: datetime, end: datetime) -> _Stretch:
        """The window, or the next one that is not weighed yet where it is too late for its own."""
        if end <= self._weighed_until:
            start, end = self._weighed_until, self._weighed_until + (end - start)
        found = self._stretches.get((end, start))
        if found is None:
            found = self._stretches[end, start] = _Stretch()
            heappush(self._order, (end, start))
        return found

    def _at(self, at: datetime) -> _Stretch:
        """The second that a single record counts in."""
        start = at.replace(microsecond=0)
        return self._stretch(start, start + timedelta(seconds=1))

    def _weigh(self, stretch: _Stretch, *, is_before: bool) -> None:
        slow_ms = self._slowness.threshold_ms()
        for comparison in self._comparisons:
            canary = stretch.canary.counts(comparison.measure, slow_ms)
            others = stretch.others.counts(comparison.measure, slow_ms)
            if is_before:
                comparison.learn(others)
            else:
                comparison.add(canary, others)
        if stretch.others.total is not None:
            self._slowness.add(stretch.others.total)
        if not is_before:
            self._canary_total.add(stretch.canary)
            self._others_total.add(stretch.others)

    def _worse(self) -> Comparison | None:
        """The measure that speaks most clearly against the canary, if one does clearly enough.

        Or has done: a judge that catches up must not miss what one who looked would have seen.
        """
        worst = max(self._comparisons, key=lambda comparison: float(comparison.worse.highest))
        return worst if worst.worse.highest >= self._log_worse else None

    def _needed(self) -> list[Comparison]:
        return [c for c in self._comparisons if c.measure in self._required]

    def _sentence_on(self, comparison: Comparison) -> str:
        return (
            f"Its {WORDS[comparison.measure]} is worse than the others' by more than "
            f"{comparison.margin_in_words()}: {comparison.in_words()} (evidence "
            f"{as_number(comparison.worse.highest):.3g}, {math.exp(self._log_worse):.0f} needed)."
        )

    def _sentence_on_open(self, comparisons: list[Comparison]) -> str:
        asked = self._canary_total.num_requests
        shown = " and ".join(
            f"its {WORDS[c.measure]} is within {c.margin_in_words()} of the others' "
            f"(evidence {as_number(c.fine.highest):.3g}, {math.exp(self._log_fine):.0f} needed)"
            for c in comparisons
        )
        return f"After {asked} answers it is not shown that {shown}: give it more share or time."

    def _sentence_on_passed(self) -> str:
        shown = ", ".join(
            f"{WORDS[c.measure]} within {c.margin_in_words()} of the others' ({c.in_words()})"
            for c in self._needed()
        )
        return f"In {self._canary_total.num_requests} answers it is shown to be fine: {shown}."


def _summary(window: Window) -> dict[str, float]:
    found: dict[str, float] = {
        "requests": window.num_requests,
        "errors": window.num_errors,
        "rejects": window.num_rejects,
    }
    if window.num_requests:
        found["error_rate"] = window.num_errors / window.num_requests
    if window.total is not None and (p95 := window.total.at(0.95)) is not None:
        found["p95_latency_ms"] = p95
    if window.num_waited:
        found["waited_for_load"] = window.num_waited
    if window.num_ratings:
        found["ratings"] = window.num_ratings
        found["mean_rating"] = 1 - window.lacking / window.num_ratings
    return found
