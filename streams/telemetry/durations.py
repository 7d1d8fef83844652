"""A histogram of durations that is cheap enough for every event.

prometheus-client's Histogram takes a lock twice and walks its buckets, 1.7 us an
observation where this one takes a quarter; a response has six. It is exposed through
the library's custom collectors, so nothing differs for whoever scrapes it.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from streams.telemetry.names import Metric


class Durations:
    """Durations of one set of label values. Written by one thread; any other may read meanwhile."""

    __slots__ = ("_bounds_ms", "counts", "sum_ms")

    def __init__(self, bounds_ms: tuple[float, ...]) -> None:
        self._bounds_ms = bounds_ms
        self.counts = [0] * (len(bounds_ms) + 1)
        self.sum_ms = 0.0

    def observe(self, ms: float) -> None:
        """Count a duration in milliseconds; a negative one (two hosts' clocks) is zero."""
        ms = max(ms, 0.0)
        self.counts[bisect_left(self._bounds_ms, ms)] += 1
        self.sum_ms += ms


class DurationHistogram(Collector):
    """A histogram in seconds, over durations in milliseconds."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        self._metric = metric
        self._bounds_ms = tuple(bound * 1000.0 for bound in metric.buckets)
        self._les = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
        self._children: dict[tuple[str, ...], Durations] = {}
        registry.register(self)

    def child(self, *labels: str) -> Durations:
        """The durations of these label values, made on first use; keep it, don't look it up."""
        if labels not in self._children:
            # A new dict, because a scrape in another thread may be iterating over the old one.
            self._children = {**self._children, labels: Durations(self._bounds_ms)}
        return self._children[labels]

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The family without samples, by which the registry refuses a second one."""
        yield HistogramMetricFamily(
            self._metric.name, self._metric.meaning, labels=self._metric.labels
        )

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The family as it stands."""
        for family in self.describe():
            for labels, durations in self._children.items():
                family.add_metric(labels, self._cumulated(durations), durations.sum_ms / 1000.0)
            yield family

    def _cumulated(self, durations: Durations) -> list[tuple[str, float]]:
        """Buckets as Prometheus wants them, each with the count of all below its bound."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for le, count in zip(self._les, list(durations.counts), strict=True):
            total += count
            buckets.append((le, total))
        return buckets
