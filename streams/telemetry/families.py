"""prometheus-client's metrics, made from the table of names."""

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from streams.telemetry.names import BUILD_INFO, Metric


def counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    """The counter that ``metric`` describes."""
    return Counter(metric.name, metric.meaning, metric.labels, registry=registry)


def gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    """The gauge that ``metric`` describes."""
    return Gauge(metric.name, metric.meaning, metric.labels, registry=registry)


def histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    """The histogram that ``metric`` describes."""
    return Histogram(
        metric.name, metric.meaning, metric.labels, buckets=metric.buckets, registry=registry
    )


def build_info(registry: CollectorRegistry) -> Info:
    """The build-info metric; the library adds ``_info`` to its name itself."""
    return Info(BUILD_INFO.name.removesuffix("_info"), BUILD_INFO.meaning, registry=registry)


def program_version() -> str:
    """Lorelay's version, as it is installed."""
    try:
        return version("lorelay")
    except PackageNotFoundError:
        return "unknown"
