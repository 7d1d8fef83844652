"""The table of metrics keeps Prometheus' custom, and the docs keep to the table."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streams.telemetry.gateway import GatewayMetrics
from streams.telemetry.metrics import RouterMetrics, WorkerMetrics
from streams.telemetry.names import ALL, Metric, ProcessName, markdown_table

PREFIXES = ("lorelay_", "gen_ai_")
DOCS = Path(__file__).parents[4] / "docs" / "metrics.md"


def names_of(metrics: list[Metric]) -> list[str]:
    return [metric.name for metric in metrics]


def test_docs_hold_the_table_as_the_code_has_it() -> None:
    assert markdown_table() in DOCS.read_text(), (
        "docs/metrics.md is stale; put the output of "
        "`python -m streams.telemetry.names` in the place of its table"
    )


def test_every_name_is_there_once() -> None:
    names = names_of(list(ALL))
    assert len(names) == len(set(names))


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_a_name_tells_its_kind_and_its_base_unit(metric: Metric) -> None:
    assert metric.name.startswith(PREFIXES)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert not metric.name.endswith("_ms")
    if metric.unit == "seconds":
        assert metric.name.endswith("_seconds")


@pytest.mark.parametrize(
    ("process", "metrics"),
    [("router", RouterMetrics), ("worker", WorkerMetrics), ("gateway", GatewayMetrics)],
)
def test_a_process_serves_what_the_table_says_and_nothing_else(
    process: ProcessName, metrics: type[RouterMetrics | WorkerMetrics | GatewayMetrics]
) -> None:
    registry = CollectorRegistry()
    metrics(registry)
    served = {
        family.name: family.type
        for family in registry.collect()
        if family.name.startswith(PREFIXES)
    }
    expected = {
        metric.name.removesuffix("_total").removesuffix("_info"): metric.kind
        for metric in ALL
        if process in metric.processes
    }
    assert served == expected
