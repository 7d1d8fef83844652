"""What the router shows of selection, as a scrape has it."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from streams.telemetry.metrics import RouterMetrics
from streams.telemetry.names import OTHER

LEGAL = "legal-qa-v1@1.0.0"
COUNTED = "lorelay_router_nearest_queries_total"
SCORE = "lorelay_router_nearest_score"
DRIFT = "lorelay_router_drift_psi"
SHADOW = "lorelay_router_shadow_queries_total"


@pytest.fixture
def metrics() -> RouterMetrics:
    metrics = RouterMetrics(CollectorRegistry(), max_adapters=1)
    metrics.know_adapters([LEGAL], revision=12)
    return metrics


def value(metrics: RouterMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_query_counts_for_the_adapter_nearest_to_it(metrics: RouterMetrics) -> None:
    metrics.selection.observe(LEGAL, "de", "selected", 0.61)
    metrics.selection.observe(LEGAL, "de", "below_threshold", 0.12)
    metrics.selection.observe(LEGAL, "en", "undecided", 0.6)
    selected = value(metrics, COUNTED, adapter=LEGAL, language="de", choice="selected")
    rejected = value(metrics, COUNTED, adapter=LEGAL, language="de", choice="below_threshold")
    assert (selected, rejected) == (1, 1)
    assert value(metrics, COUNTED, adapter=LEGAL, language="en", choice="undecided") == 1
    assert value(metrics, f"{SCORE}_bucket", adapter=LEGAL, language="de", le="0.2") == 1
    assert value(metrics, f"{SCORE}_count", adapter=LEGAL, language="de") == 2
    total = value(metrics, f"{SCORE}_sum", adapter=LEGAL, language="de")
    assert total == pytest.approx(0.73)


def test_adapters_without_a_label_of_their_own_share_one_and_bring_no_languages(
    metrics: RouterMetrics,
) -> None:
    for number in range(100):
        metrics.selection.observe(f"many-v{number}@1.0.0", f"x{number}", "selected", 0.5)
    assert value(metrics, COUNTED, adapter=OTHER, language=OTHER, choice="selected") == 100
    assert b'"x1"' not in generate_latest(metrics.registry)


def test_drift_is_what_it_is_at_the_scrape(metrics: RouterMetrics) -> None:
    readings = [(LEGAL, "all", 0.1, 0.2), ("another-v1@1.0.0", "all", 0.3, 0.2)]
    metrics.selection.show_drift(lambda: readings)
    assert value(metrics, DRIFT, adapter=LEGAL, language="all") == 0.1
    assert value(metrics, f"{DRIFT}_by_chance", adapter=LEGAL, language="all") == 0.2
    assert value(metrics, DRIFT, adapter=OTHER, language="all") is None
    readings.clear()
    assert value(metrics, DRIFT, adapter=LEGAL, language="all") is None


def test_a_shadow_counts_by_the_adapter_that_was_chosen_without_it(
    metrics: RouterMetrics,
) -> None:
    metrics.selection.count_shadow(LEGAL, "shadow_rejects", 3)
    metrics.selection.count_shadow(None, "shadow_accepts")
    assert value(metrics, SHADOW, adapter=LEGAL, outcome="shadow_rejects") == 3
    assert value(metrics, SHADOW, adapter="base", outcome="shadow_accepts") == 1
