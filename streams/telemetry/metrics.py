"""The metrics of one process, bound once and updated by one call an event.

A process has one of these, built on a CollectorRegistry of its own. Durations of requests
are in milliseconds, as in the records; durations that the process measures itself are in
seconds, as ``time.perf_counter`` gives them.
"""

import platform
from collections.abc import Iterable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, ProcessCollector

from schemas.records import Response, Routing, Timing, Usage
from streams.telemetry import names
from streams.telemetry.canary import CanaryMetrics
from streams.telemetry.durations import DurationHistogram
from streams.telemetry.families import build_info, counter, gauge, histogram, program_version
from streams.telemetry.gen_ai import ServerMetrics
from streams.telemetry.names import ProcessName
from streams.telemetry.responses import (
    CATEGORIES,
    MAX_ADAPTERS,
    AdapterLabels,
    ResponseMetrics,
    adapter_of,
    variant_of,
)
from streams.telemetry.selection import SelectionMetrics
from streams.telemetry.traffic import TrafficMetrics

TransactionOutcome = Literal["committed", "aborted", "fenced", "unknown"]
Choice = Literal["selected", "named", "below_threshold", "undecided", "uncompared"]

_NO_USAGE = Usage()


def choice_of(routing: Routing) -> Choice:
    """What kind of decision ``routing`` is; its reason is a sentence and can't be a label."""
    if routing.score is None:
        return "uncompared" if routing.adapter is None else "named"
    if routing.adapter is not None:
        return "selected"
    if routing.threshold is None or routing.score < routing.threshold:
        return "below_threshold"
    return "undecided"


class ProcessMetrics:
    """What router and worker both count."""

    def __init__(
        self, process: ProcessName, registry: CollectorRegistry, max_adapters: int = MAX_ADAPTERS
    ) -> None:
        self.registry = registry
        self._labels = AdapterLabels(max_adapters)
        self._responses = ResponseMetrics(registry, self._labels)
        self._transactions = counter(names.TRANSACTIONS, registry)
        self._transaction = histogram(names.TRANSACTION, registry)
        self._by_outcome = {
            outcome: (self._transactions.labels(outcome), self._transaction.labels(outcome))
            for outcome in get_args(TransactionOutcome)
        }
        self._lag = gauge(names.CONSUMER_LAG, registry)
        self._span = gauge(names.WINDOW_SPAN, registry)
        self._paused = gauge(names.PAUSED_PARTITIONS, registry)
        self._retention_lost = counter(names.RETENTION_LOST, registry)
        self._decode_errors = counter(names.DECODE_ERRORS, registry)
        self._dead_letters = counter(names.DEAD_LETTERS, registry)
        self._revision = gauge(names.REGISTRY_REVISION, registry)
        self._adapters = gauge(names.ADAPTERS_KNOWN, registry)
        self._revision.set(-1)
        build_info(registry).info(
            {"process": process, "version": program_version(), "python": platform.python_version()}
        )
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def know_adapters(self, adapters: Iterable[str], revision: int) -> None:
        """Follow the registry: its adapter versions (``id@version``, all of them) and revision.

        Until an adapter is known here its events count under ``other``.
        """
        self._labels.learn(adapters)
        self._adapters.set(self._labels.known)
        self._revision.set(revision)

    def observe(self, response: Response) -> None:
        """Count a response that this process has written."""
        category = "" if response.error is None else response.error.category
        self._responses.observe(adapter_of(response), category, response.timing, response.usage)
        if variant := variant_of(response):
            self._responses.observe_variant(response.adapter, variant, response.status)

    def observe_all(self, responses: Iterable[Response]) -> None:
        """Count the responses of one committed transaction."""
        for response in responses:
            self.observe(response)

    def observe_response(
        self,
        adapter: str | None,
        status: str,
        category: str,
        timing: Timing,
        usage: Usage = _NO_USAGE,
    ) -> None:
        """Count a response by its parts; ``category`` is ignored where ``status`` is ok."""
        outcome = "" if status == "ok" else category or "internal"
        self._responses.observe(adapter, outcome, timing, usage)

    def observe_transaction(self, outcome: TransactionOutcome, seconds: float) -> None:
        """Count a transaction and its duration, once its outcome is known."""
        total, duration = self._by_outcome[outcome]
        total.inc()
        duration.observe(seconds)

    def set_lag(self, topic: str, partition: int, records: int) -> None:
        """Report how far the reader is behind the end of a partition."""
        self._lag.labels(topic, partition).set(records)

    def set_window_span(self, topic: str, partition: int, offsets: int) -> None:
        """Report the offsets between the oldest unfinished and the newest fetched record."""
        self._span.labels(topic, partition).set(offsets)

    def forget_partition(self, topic: str, partition: int) -> None:
        """Stop reporting a partition that is no longer assigned here."""
        self._lag.remove_by_labels({"topic": topic, "partition": str(partition)})
        self._span.remove_by_labels({"topic": topic, "partition": str(partition)})

    def set_paused_partitions(self, partitions: int) -> None:
        """Report how many assigned partitions are paused."""
        self._paused.set(partitions)

    def count_deleted(self, topic: str, records: int) -> None:
        """Count records of ``topic`` that were deleted before they were finished."""
        self._retention_lost.labels(topic).inc(records)

    def count_decode_error(self, topic: str) -> None:
        """Count a record of ``topic`` that could not be decoded."""
        self._decode_errors.labels(topic).inc()

    def count_dead_letter(self, topic: str, category: str) -> None:
        """Count a record of ``topic`` that was put on the dead-letters topic."""
        label = category if category in CATEGORIES else "internal"
        self._dead_letters.labels(topic, label).inc()


class RouterMetrics(ProcessMetrics):
    """The router's metrics."""

    def __init__(self, registry: CollectorRegistry, max_adapters: int = MAX_ADAPTERS) -> None:
        super().__init__("router", registry, max_adapters)
        self._routed = counter(names.ROUTED, registry)
        self._queue = DurationHistogram(names.ROUTER_QUEUE, registry)
        self._routing = DurationHistogram(names.ROUTER_ROUTING, registry)
        self._batch = histogram(names.ROUTER_BATCH, registry)
        self._encode = histogram(names.ROUTER_ENCODE, registry)
        texts = counter(names.ROUTER_TEXTS, registry)
        self._encoded, self._reused = texts.labels("encoded"), texts.labels("reused")
        self._in_flight = gauge(names.ROUTER_IN_FLIGHT, registry)
        self._windows = counter(names.METRIC_WINDOWS, registry)
        self._late = counter(names.LATE_RESPONSES, registry)
        self.selection = SelectionMetrics(registry, self._labels)
        self.traffic = TrafficMetrics(registry, self._labels)
        self.canary = CanaryMetrics(registry)
        self._routed_by: dict[tuple[str, str], Counter] = {}

    def observe_routing(self, routing: Routing, queue_ms: float | None = None) -> None:
        """Count a query that was routed; ``queue_ms`` as in the response's timing."""
        adapter = self._labels.label(routing.adapter)
        choice = choice_of(routing)
        routed = self._routed_by.get((adapter, choice))
        if routed is None:
            routed = self._routed_by[adapter, choice] = self._routed.labels(adapter, choice)
        routed.inc()
        if routing.routing_ms is not None:
            self._routing.child(adapter).observe(routing.routing_ms)
        if queue_ms is not None:
            self._queue.child(adapter).observe(queue_ms)

    def observe_batch(self, queries: int, encode_seconds: float | None = None) -> None:
        """Count a micro-batch; without ``encode_seconds`` nothing in it needed the encoder."""
        self._batch.observe(queries)
        if encode_seconds is not None:
            self._encode.observe(encode_seconds)

    def count_texts(self, reused: int, encoded: int) -> None:
        """Count the texts of one batch by where their vectors came from."""
        self._reused.inc(reused)
        self._encoded.inc(encoded)

    def set_in_flight(self, queries: int) -> None:
        """Report how many queries are fetched and not committed."""
        self._in_flight.set(queries)

    def count_windows(self, written: int, late_responses: int = 0) -> None:
        """Count the AdapterMetrics records written, and the late responses since last time."""
        self._windows.inc(written)
        self._late.inc(late_responses)


class WorkerMetrics(ProcessMetrics):
    """The worker's metrics."""

    def __init__(self, registry: CollectorRegistry, max_adapters: int = MAX_ADAPTERS) -> None:
        super().__init__("worker", registry, max_adapters)
        self._in_flight = gauge(names.WORKER_IN_FLIGHT, registry)
        self._in_flight_by: dict[str, Gauge] = {}
        self._waiting = gauge(names.WORKER_WAITING, registry)
        self._restarts = counter(names.WORKER_RESTARTS, registry)
        self._flush = histogram(names.WORKER_FLUSH, registry)
        self._retries = counter(names.WORKER_RETRIES, registry)
        self._load = histogram(names.WORKER_ADAPTER_LOAD, registry)
        self._fetch = histogram(names.WORKER_ADAPTER_FETCH, registry)
        self._fetched_bytes = counter(names.WORKER_FETCHED_BYTES, registry)
        evictions = counter(names.WORKER_EVICTIONS, registry)
        self._engine_evictions = evictions.labels("engine")
        self._disk_evictions = evictions.labels("disk")
        self._resident = gauge(names.WORKER_RESIDENT, registry)
        self._shadow = counter(names.WORKER_SHADOW, registry)
        self._cold = counter(names.WORKER_COLD, registry)
        self._store_bytes = gauge(names.WORKER_STORE_BYTES, registry)
        self.engine = ServerMetrics(registry, self._labels)

    def request_started(self, adapter: str | None) -> str:
        """Count a request into the engine; returns the label to hand to ``request_finished``."""
        label = self._labels.label(adapter)
        self._in_flight_gauge(label).inc()
        return label

    def request_finished(self, label: str) -> None:
        """Count a request out of the engine, however it ended."""
        self._in_flight_gauge(label).dec()

    def set_waiting(self, requests: int) -> None:
        """Report how many fetched requests wait for their turn."""
        self._waiting.set(requests)

    def count_engine_restart(self) -> None:
        """Count an engine that was started again."""
        self._restarts.inc()

    def observe_flush(self, responses: int) -> None:
        """Count the responses of one transaction."""
        self._flush.observe(responses)

    def count_retry(self, category: str) -> None:
        """Count a request that was written back for another attempt, by its error's category."""
        self._retries.labels(category if category in CATEGORIES else "internal").inc()

    def observe_adapter_load(self, seconds: float, ok: bool) -> None:
        """Count an adapter that was fetched, verified and loaded, or was not."""
        self._load.labels("ok" if ok else "error").observe(seconds)

    def count_shadow(self, outcome: Literal["ok", "error", "dropped"]) -> None:
        """Count a request that a version in shadow was to answer."""
        self._shadow.labels(outcome).inc()

    def observe_adapter_fetch(self, seconds: float, received: int) -> None:
        """Count a fetch and the bytes that it brought, 0 where it failed."""
        self._fetch.labels("ok" if received else "error").observe(seconds)
        self._fetched_bytes.inc(received)

    def count_adapter_eviction(self) -> None:
        """Count an adapter that left the engine for another one."""
        self._engine_evictions.inc()

    def count_disk_eviction(self) -> None:
        """Count an adapter whose files were deleted for another one's."""
        self._disk_evictions.inc()

    def count_cold_request(self, adapter: str) -> None:
        """Count a request whose adapter was not loaded when its turn came."""
        self._cold.labels(self._labels.label(adapter)).inc()

    def set_store_bytes(self, size_bytes: int) -> None:
        """Report what the fetched adapters take on this host's disk."""
        self._store_bytes.set(size_bytes)

    def set_resident_adapters(self, adapters: int) -> None:
        """Report how many adapter versions the engine holds."""
        self._resident.set(adapters)

    def _in_flight_gauge(self, label: str) -> Gauge:
        bound = self._in_flight_by.get(label)
        if bound is None:
            bound = self._in_flight_by[label] = self._in_flight.labels(label)
        return bound
