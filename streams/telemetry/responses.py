"""What a response updates: nine counters and histograms, in about two microseconds."""

from collections.abc import Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from schemas.errors import Category
from schemas.records import BASE, Response, Timing, Usage
from streams.telemetry import names
from streams.telemetry.durations import DurationHistogram
from streams.telemetry.families import counter
from streams.telemetry.names import OTHER, UNROUTED

MAX_ADAPTERS = 500
"""Adapter versions that become labels; each has about 180 series. Later ones count as other."""

#: Series by variant: two for each version and one more for a few. More is somebody's mistake.
_MOST_VARIANTS = 4 * MAX_ADAPTERS

CATEGORIES: tuple[str, ...] = get_args(Category)


def adapter_of(response: Response) -> str:
    """What ``response`` counts for: ``id@version``, ``base``, or ``unrouted`` before routing."""
    if response.adapter is not None:
        return response.adapter
    return BASE if response.routing is not None or response.status == "ok" else UNROUTED


def variant_of(response: Response) -> str | None:
    """The arm of its family's split that ``response`` counts for.

    None where the split had no say, or its arm did not answer: a fallback did.
    """
    routing = response.routing
    if routing is None or routing.adapter != response.adapter:
        return None
    return routing.variant


def rejected_by_arm(response: Response) -> tuple[str, str | None] | None:
    """The version, and its arm, that the query was given to, where another one has answered."""
    routing = response.routing
    if routing is None or routing.adapter in (None, response.adapter):
        return None
    return str(routing.adapter), routing.variant


class AdapterLabels:
    """Which adapters may become labels: those of the registry, and no more than ``limit``.

    A version that leaves the registry keeps its label as long as the process lives, because
    a counter that vanishes takes its last increments with it.
    """

    def __init__(self, limit: int = MAX_ADAPTERS) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._labels: dict[str | None, str] = {None: BASE, BASE: BASE, UNROUTED: UNROUTED}

    @property
    def known(self) -> int:
        """How many adapter versions the process knows now."""
        return len(self._known)

    def learn(self, adapters: Iterable[str]) -> None:
        """Take ``adapters`` for the whole of what the registry holds now."""
        self._known = set(adapters)
        for adapter in sorted(self._known - self._labels.keys()):
            if len(self._labels) >= self._limit + 3:
                return
            self._labels[adapter] = adapter

    def label(self, adapter: str | None) -> str:
        """The label for ``adapter`` (None is the base model)."""
        return self._labels.get(adapter, OTHER)


class _Series:
    """Everything that one adapter's responses update, with the labels already bound."""

    __slots__ = (
        *("outcomes", "queue", "routing", "engine_queue", "first_token", "inference", "total"),
        *("prompt_tokens", "completion_tokens"),
    )

    def __init__(self, families: "_Families", adapter: str) -> None:
        responses = families.responses
        self.outcomes = {
            category: responses.labels(adapter, "error", category) for category in CATEGORIES
        }
        self.outcomes[""] = responses.labels(adapter, "ok", "")
        self.queue = families.queue.child(adapter)
        self.routing = families.routing.child(adapter)
        self.engine_queue = families.engine_queue.child(adapter)
        self.first_token = families.first_token.child(adapter)
        self.inference = families.inference.child(adapter)
        self.total = families.total.child(adapter)
        self.prompt_tokens = families.prompt_tokens.labels(adapter)
        self.completion_tokens = families.completion_tokens.labels(adapter)

    def observe(self, category: str, timing: Timing, usage: Usage) -> None:
        outcome = self.outcomes.get(category)
        (self.outcomes["internal"] if outcome is None else outcome).inc()
        if (ms := timing.queue_ms) is not None:
            self.queue.observe(ms)
        if (ms := timing.routing_ms) is not None:
            self.routing.observe(ms)
        if (ms := timing.engine_queue_ms) is not None:
            self.engine_queue.observe(ms)
        if (ms := timing.first_token_ms) is not None:
            self.first_token.observe(ms)
        if (ms := timing.inference_ms) is not None:
            self.inference.observe(ms)
        if (ms := timing.total_ms) is not None:
            self.total.observe(ms)
        if usage.prompt_tokens > 0:
            self.prompt_tokens.inc(usage.prompt_tokens)
        if usage.completion_tokens > 0:
            self.completion_tokens.inc(usage.completion_tokens)


class _Families:
    """The metric families that responses update."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.responses = counter(names.RESPONSES, registry)
        self.queue = DurationHistogram(names.QUEUE, registry)
        self.routing = DurationHistogram(names.ROUTING, registry)
        self.engine_queue = DurationHistogram(names.ENGINE_QUEUE, registry)
        self.first_token = DurationHistogram(names.FIRST_TOKEN, registry)
        self.inference = DurationHistogram(names.INFERENCE, registry)
        self.total = DurationHistogram(names.TOTAL, registry)
        self.prompt_tokens = counter(names.PROMPT_TOKENS, registry)
        self.completion_tokens = counter(names.COMPLETION_TOKENS, registry)
        self.by_variant = counter(names.VARIANT_RESPONSES, registry)


class ResponseMetrics:
    """The metrics of the responses that one process writes."""

    def __init__(self, registry: CollectorRegistry, labels: AdapterLabels) -> None:
        self._families = _Families(registry)
        self._labels = labels
        self._by_label: dict[str, _Series] = {}
        self._by_variant: dict[tuple[str, str, str], Counter] = {}

    def observe(self, adapter: str | None, category: str, timing: Timing, usage: Usage) -> None:
        """Count a response; ``category`` is its error's, empty where its status is ok."""
        label = self._labels.label(adapter)
        series = self._by_label.get(label)
        if series is None:
            series = self._by_label[label] = _Series(self._families, label)
        series.observe(category, timing, usage)

    def observe_variant(self, adapter: str | None, variant: str, status: str) -> None:
        """Count a response by the arm of the split that its query fell into."""
        labels = (self._labels.label(adapter), variant, status)
        series = self._by_variant.get(labels)
        if series is None:
            if len(self._by_variant) >= _MOST_VARIANTS:
                return
            series = self._by_variant[labels] = self._families.by_variant.labels(*labels)
        series.inc()
