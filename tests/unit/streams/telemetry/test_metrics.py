"""What router and worker count, as a scrape shows it."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from schemas.records import ErrorInfo, Origin, Response, Routing, Timing, Usage
from streams.telemetry.metrics import RouterMetrics, WorkerMetrics
from streams.telemetry.responses import adapter_of

LEGAL = "legal-qa-v1@1.0.0"
OK = Response(
    query_id="q",
    status="ok",
    adapter=LEGAL,
    routing=Routing(adapter=LEGAL),
    usage=Usage(7, 11),
    timing=Timing(
        queue_ms=2.0,
        routing_ms=4.0,
        engine_queue_ms=0.5,
        first_token_ms=20.0,
        inference_ms=90.0,
        total_ms=100.0,
    ),
    origin=Origin("queries", 0, 1),
)
FAILED = replace(
    OK,
    status="error",
    timing=Timing(queue_ms=2.0),
    usage=Usage(),
    error=ErrorInfo("engine", "engine_failed", "It broke.", True),
)


@pytest.fixture
def worker() -> WorkerMetrics:
    metrics = WorkerMetrics(CollectorRegistry())
    metrics.know_adapters([LEGAL, "medical-diagnosis-v1@1.0.0"], revision=12)
    return metrics


@pytest.fixture
def router() -> RouterMetrics:
    metrics = RouterMetrics(CollectorRegistry())
    metrics.know_adapters([LEGAL], revision=12)
    return metrics


def value(metrics: RouterMetrics | WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_response_counts_by_adapter_status_and_category(worker: WorkerMetrics) -> None:
    worker.observe_all([OK, OK, FAILED])
    name = "lorelay_responses_total"
    assert value(worker, name, adapter=LEGAL, status="ok", category="") == 2
    assert value(worker, name, adapter=LEGAL, status="error", category="engine") == 1
    assert value(worker, name, adapter=LEGAL, status="error", category="internal") == 0


def test_a_category_nobody_knows_counts_as_internal(worker: WorkerMetrics) -> None:
    worker.observe(replace(FAILED, error=ErrorInfo("gremlins", "x", "x")))
    worker.observe_response(LEGAL, "error", "", Timing())
    name = "lorelay_responses_total"
    assert value(worker, name, adapter=LEGAL, status="error", category="internal") == 2


@pytest.mark.parametrize(
    ("stage", "seconds"),
    [
        ("queue", 0.002),
        ("routing", 0.004),
        ("engine_queue", 0.0005),
        ("first_token", 0.020),
        ("inference", 0.090),
        ("total", 0.100),
    ],
)
def test_each_stage_of_a_response_is_a_histogram_in_seconds(
    worker: WorkerMetrics, stage: str, seconds: float
) -> None:
    worker.observe(OK)
    assert value(worker, f"lorelay_{stage}_seconds_count", adapter=LEGAL) == 1
    total = value(worker, f"lorelay_{stage}_seconds_sum", adapter=LEGAL)
    assert total == pytest.approx(seconds)


def test_a_stage_that_was_never_reached_is_not_observed(worker: WorkerMetrics) -> None:
    worker.observe(FAILED)
    assert value(worker, "lorelay_queue_seconds_count", adapter=LEGAL) == 1
    assert value(worker, "lorelay_inference_seconds_count", adapter=LEGAL) == 0


def test_buckets_are_cumulative_and_include_their_bound(worker: WorkerMetrics) -> None:
    for ms in (0.4, 100.0, 100.1, 1e9):
        worker.observe_response(LEGAL, "ok", "", Timing(total_ms=ms))
    name = "lorelay_total_seconds_bucket"
    assert value(worker, name, adapter=LEGAL, le="0.001") == 1
    assert value(worker, name, adapter=LEGAL, le="0.1") == 2
    assert value(worker, name, adapter=LEGAL, le="0.25") == 3
    assert value(worker, name, adapter=LEGAL, le="+Inf") == 4


def test_a_negative_duration_never_lowers_a_sum(worker: WorkerMetrics) -> None:
    worker.observe_response(LEGAL, "ok", "", Timing(queue_ms=-5000.0))
    assert value(worker, "lorelay_queue_seconds_sum", adapter=LEGAL) == 0


def test_tokens_add_up(worker: WorkerMetrics) -> None:
    worker.observe_all([OK, OK])
    assert value(worker, "lorelay_prompt_tokens_total", adapter=LEGAL) == 14
    assert value(worker, "lorelay_completion_tokens_total", adapter=LEGAL) == 22


def test_a_response_counts_for_its_adapter_the_base_model_or_nobody() -> None:
    assert adapter_of(OK) == LEGAL
    assert adapter_of(replace(OK, adapter=None, routing=Routing())) == "base"
    assert adapter_of(replace(FAILED, adapter=None, routing=Routing())) == "base"
    assert adapter_of(replace(FAILED, adapter=None, routing=None)) == "unrouted"


def test_an_arm_of_a_split_counts_what_the_split_gave_it_alone(worker: WorkerMetrics) -> None:
    arm = Routing(adapter=LEGAL, variant="v1")
    other = Routing(adapter="medical-diagnosis-v1@1.0.0", variant="v2")
    worker.observe_all([OK, replace(OK, routing=arm), replace(FAILED, routing=arm)])
    worker.observe(replace(OK, routing=other))  # a fallback answered
    name = "lorelay_variant_responses_total"
    assert value(worker, name, adapter=LEGAL, variant="v1", status="ok") == 1
    assert value(worker, name, adapter=LEGAL, variant="v1", status="error") == 1
    assert value(worker, name, adapter=LEGAL, variant="v2", status="ok") is None


def test_an_adapter_outside_the_registry_never_becomes_a_label(worker: WorkerMetrics) -> None:
    for number in range(1000):
        worker.observe(replace(OK, adapter=f"made-up-v{number}@1.0.0"))
    name = "lorelay_responses_total"
    assert value(worker, name, adapter="other", status="ok", category="") == 1000
    assert b"made-up" not in generate_latest(worker.registry)


def test_the_registry_itself_can_not_make_labels_without_end() -> None:
    metrics = WorkerMetrics(CollectorRegistry(), max_adapters=2)
    metrics.know_adapters(["a-b-v1@1.0.0", "a-b-v1@1.0.1", "a-b-v1@1.0.2"], revision=3)
    for version in range(3):
        metrics.observe(replace(OK, adapter=f"a-b-v1@1.0.{version}"))
    name = "lorelay_responses_total"
    assert value(metrics, name, adapter="a-b-v1@1.0.1", status="ok", category="") == 1
    assert value(metrics, name, adapter="other", status="ok", category="") == 1
    assert value(metrics, "lorelay_adapters_known") == 3


def test_a_version_that_leaves_the_registry_keeps_its_counters(worker: WorkerMetrics) -> None:
    worker.observe(OK)
    worker.know_adapters([], revision=13)
    worker.observe(OK)
    name = "lorelay_responses_total"
    assert value(worker, name, adapter=LEGAL, status="ok", category="") == 2
    assert value(worker, "lorelay_registry_revision") == 13
    assert value(worker, "lorelay_adapters_known") == 0


def test_transactions_count_by_outcome(router: RouterMetrics) -> None:
    router.observe_transaction("committed", 0.005)
    router.observe_transaction("fenced", 0.1)
    assert value(router, "lorelay_transactions_total", outcome="committed") == 1
    assert value(router, "lorelay_transactions_total", outcome="fenced") == 1
    assert value(router, "lorelay_transactions_total", outcome="unknown") == 0
    total = value(router, "lorelay_transaction_seconds_sum", outcome="committed")
    assert total == pytest.approx(0.005)


def test_a_partition_is_reported_while_it_is_assigned(router: RouterMetrics) -> None:
    router.set_lag("lorelay.queries", 3, 17)
    router.set_window_span("lorelay.queries", 3, 5)
    labels = {"topic": "lorelay.queries", "partition": "3"}
    assert value(router, "lorelay_consumer_lag_records", **labels) == 17
    assert value(router, "lorelay_window_span_offsets", **labels) == 5
    router.forget_partition("lorelay.queries", 3)
    assert value(router, "lorelay_consumer_lag_records", **labels) is None
    assert value(router, "lorelay_window_span_offsets", **labels) is None
    router.forget_partition("lorelay.queries", 3)


def test_dead_letters_and_decode_errors_count_by_topic(router: RouterMetrics) -> None:
    router.count_decode_error("lorelay.queries")
    router.count_dead_letter("lorelay.queries", "invalid_request")
    assert value(router, "lorelay_decode_errors_total", topic="lorelay.queries") == 1
    labels = {"topic": "lorelay.queries", "category": "invalid_request"}
    assert value(router, "lorelay_dead_letters_total", **labels) == 1


def test_a_process_tells_what_it_is(router: RouterMetrics) -> None:
    (info,) = [f for f in router.registry.collect() if f.name == "lorelay_build"]
    assert info.samples[0].labels["process"] == "router"
    assert info.samples[0].labels["version"]


def test_two_processes_in_one_test_do_not_share_anything() -> None:
    one, two = WorkerMetrics(CollectorRegistry()), WorkerMetrics(CollectorRegistry())
    one.observe(replace(OK, adapter=None))
    name = "lorelay_responses_total"
    assert value(one, name, adapter="base", status="ok", category="") == 1
    assert value(two, name, adapter="base", status="ok", category="") is None


# Router


def test_a_routed_query_counts_with_its_times(router: RouterMetrics) -> None:
    router.observe_routing(Routing(adapter=LEGAL, score=0.8, routing_ms=5.0), queue_ms=3.0)
    name = "lorelay_router_queries_total"
    assert value(router, name, adapter=LEGAL, choice="selected") == 1
    sums = [
        value(router, f"lorelay_router_{stage}_seconds_sum", adapter=LEGAL)
        for stage in ("queue", "routing")
    ]
    assert sums == pytest.approx([0.003, 0.005])


@pytest.mark.parametrize(
    ("routing", "adapter", "choice"),
    [
        (Routing(adapter=LEGAL, score=0.8, threshold=0.5), LEGAL, "selected"),
        (Routing(adapter=LEGAL), LEGAL, "named"),
        (Routing(score=0.3, threshold=0.5), "base", "below_threshold"),
        (Routing(score=0.3), "base", "below_threshold"),
        (Routing(score=0.8, threshold=0.5, margin=0.0), "base", "undecided"),
        (Routing(), "base", "uncompared"),
    ],
)
def test_a_routed_query_counts_by_adapter_and_kind_of_choice(
    router: RouterMetrics, routing: Routing, adapter: str, choice: str
) -> None:
    router.observe_routing(routing)
    assert value(router, "lorelay_router_queries_total", adapter=adapter, choice=choice) == 1


def test_a_micro_batch_counts_its_queries_and_its_encoding(router: RouterMetrics) -> None:
    router.observe_batch(100, encode_seconds=0.04)
    router.observe_batch(3)
    assert value(router, "lorelay_router_batch_queries_sum") == 103
    assert value(router, "lorelay_router_encode_seconds_count") == 1


def test_texts_count_by_where_their_vectors_come_from(router: RouterMetrics) -> None:
    router.count_texts(reused=3, encoded=125)
    router.count_texts(reused=4, encoded=0)
    name = "lorelay_router_encoder_texts_total"
    assert value(router, name, source="reused") == 7
    assert value(router, name, source="encoded") == 125


def test_the_routers_own_figures(router: RouterMetrics) -> None:
    router.set_in_flight(9)
    router.set_paused_partitions(1)
    router.count_windows(3, late_responses=2)
    router.count_windows(1)
    assert value(router, "lorelay_router_in_flight_queries") == 9
    assert value(router, "lorelay_paused_partitions") == 1
    assert value(router, "lorelay_router_metric_windows_total") == 4
    assert value(router, "lorelay_router_late_responses_total") == 2


# Worker


def test_requests_are_in_flight_until_they_finish_even_if_the_registry_changes(
    worker: WorkerMetrics,
) -> None:
    name = "lorelay_worker_in_flight_requests"
    early = worker.request_started("new-one-v1@1.0.0")
    worker.know_adapters(["new-one-v1@1.0.0"], revision=13)
    late = worker.request_started("new-one-v1@1.0.0")
    base = worker.request_started(None)
    assert value(worker, name, adapter="base") == 1
    for label in (early, late, base):
        worker.request_finished(label)
    for adapter in ("other", "new-one-v1@1.0.0", "base"):
        assert value(worker, name, adapter=adapter) == 0


def test_the_workers_own_figures(worker: WorkerMetrics) -> None:
    worker.observe_flush(16)
    worker.count_retry("engine")
    worker.observe_adapter_load(0.2, ok=True)
    worker.observe_adapter_load(0.1, ok=False)
    worker.observe_adapter_fetch(0.3, 1000)
    worker.observe_adapter_fetch(0.3, 0)
    worker.count_adapter_eviction()
    worker.count_disk_eviction()
    worker.count_cold_request("unheard-of-v1@1.0.0")
    worker.set_store_bytes(1000)
    worker.set_resident_adapters(3)
    assert value(worker, "lorelay_worker_flush_responses_sum") == 16
    assert value(worker, "lorelay_worker_retries_total", category="engine") == 1
    assert value(worker, "lorelay_worker_adapter_load_seconds_count", outcome="error") == 1
    assert value(worker, "lorelay_worker_adapter_fetch_seconds_count", outcome="ok") == 1
    assert value(worker, "lorelay_worker_adapter_fetched_bytes_total") == 1000
    for place in ("engine", "disk"):
        assert value(worker, "lorelay_worker_adapter_evictions_total", place=place) == 1
    assert value(worker, "lorelay_worker_cold_requests_total", adapter="other") == 1
    assert value(worker, "lorelay_worker_adapter_store_bytes") == 1000
    assert value(worker, "lorelay_worker_adapters_resident") == 3
