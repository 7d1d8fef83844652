"""What the router shows of selection: scores, rejects, drift, and what a shadow makes of it all."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.telemetry import names
from streams.telemetry.families import counter, histogram
from streams.telemetry.names import OTHER, Metric
from streams.telemetry.responses import AdapterLabels

#: Adapter, language, population stability index, what it would hardly exceed by chance.
DriftReading = tuple[str, str, float, float]


class _Nearest:
    """What the queries of one language update that are nearest to one adapter."""

    __slots__ = ("choices", "score")

    def __init__(self, score: Histogram) -> None:
        self.score = score
        self.choices: dict[str, Counter] = {}


class SelectionMetrics:
    """The metrics of selection; ``count_shadow`` may be called from any thread."""

    def __init__(self, registry: CollectorRegistry, labels: AdapterLabels) -> None:
        self._labels = labels
        self._nearest = counter(names.NEAREST, registry)
        self._score = histogram(names.NEAREST_SCORE, registry)
        self._shadow = counter(names.SHADOW, registry)
        self._drift = _DriftGauges(registry, labels)
        self._by_label: dict[tuple[str, str], _Nearest] = {}

    def observe(self, adapter: str, language: str, choice: str, score: float) -> None:
        """Count a query by the adapter nearest to it; ``language`` is one of a few for each."""
        label = self._labels.label(adapter)
        if label == OTHER:
            language = OTHER
        found = self._by_label.get((label, language))
        if found is None:
            found = _Nearest(self._score.labels(label, language))
            self._by_label[label, language] = found
        chosen = found.choices.get(choice)
        if chosen is None:
            chosen = found.choices[choice] = self._nearest.labels(label, language, choice)
        chosen.inc()
        found.score.observe(score)

    def show_drift(self, readings: Callable[[], Iterable[DriftReading]]) -> None:
        """Take these readings at every scrape, in the scrape's thread."""
        self._drift.readings = readings

    def count_shadow(self, adapter: str | None, outcome: str, queries: int = 1) -> None:
        """Count queries of the chosen adapter (None is the base model) by a shadow's outcome."""
        self._shadow.labels(self._labels.label(adapter), outcome).inc(queries)


class _DriftGauges(Collector):
    """Gauges that are computed when somebody looks."""

    def __init__(self, registry: CollectorRegistry, labels: AdapterLabels) -> None:
        self.readings: Callable[[], Iterable[DriftReading]] = tuple
        self._labels = labels
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples, by which the registry refuses a second one."""
        yield _family(names.DRIFT)
        yield _family(names.DRIFT_BY_CHANCE)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families as they stand; of adapters without a label of their own there is nothing."""
        index, by_chance = self.describe()
        for adapter, language, found, chance in self.readings():
            label = self._labels.label(adapter)
            if label != OTHER:
                index.add_metric([label, language], found)
                by_chance.add_metric([label, language], chance)
        yield from (index, by_chance)


def _family(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
