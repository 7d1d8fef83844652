"""The metrics of a gateway, bound once and updated by one call an event."""

import platform
from collections.abc import Callable, Collection

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from schemas.records import ErrorInfo, Feedback, Query, Response
from streams.telemetry import names
from streams.telemetry.families import build_info, counter, gauge, histogram, program_version
from streams.telemetry.gen_ai import ClientMetrics
from streams.telemetry.responses import AdapterLabels

#: A rating from here on is a good one.
_GOOD = 0.5


class GatewayMetrics:
    """The gateway's metrics; durations in seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = counter(names.GATEWAY_REQUESTS, registry)
        self._request = histogram(names.GATEWAY_REQUEST, registry)
        self._first_chunk = histogram(names.GATEWAY_FIRST_CHUNK, registry)
        self._in_flight = gauge(names.GATEWAY_IN_FLIGHT, registry)
        self._streams = gauge(names.GATEWAY_STREAMS, registry)
        self._viewers = gauge(names.GATEWAY_VIEWERS, registry)
        self._readers = gauge(names.GATEWAY_DASHBOARD_READERS, registry)
        self._cancels = counter(names.GATEWAY_CANCELS, registry)
        self._broken = counter(names.GATEWAY_BROKEN_STREAMS, registry)
        self._feedback = counter(names.GATEWAY_FEEDBACK, registry)
        self._labels = AdapterLabels()
        self._gen_ai = ClientMetrics(registry, self._labels)
        self._foreign = counter(names.GATEWAY_FOREIGN_REPLIES, registry)
        self._decode_errors = counter(names.DECODE_ERRORS, registry)
        self._revision = gauge(names.REGISTRY_REVISION, registry)
        self._adapters = gauge(names.ADAPTERS_KNOWN, registry)
        self._revision.set(-1)
        build_info(registry).info(
            {
                "process": "gateway",
                "version": program_version(),
                "python": platform.python_version(),
            }
        )
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request and its duration, once it is over."""
        self._requests.labels(route, str(status)).inc()
        self._request.labels(route).observe(seconds)

    def observe_first_chunk(self, seconds: float) -> None:
        """Count a stream's first chunk."""
        self._first_chunk.observe(seconds)

    def observe_operation(
        self, query: Query, response: Response | None, error: ErrorInfo | None, seconds: float
    ) -> None:
        """Count a question to a model, once its answer is written or it has ended otherwise."""
        self._gen_ai.observe(query, response, error, seconds)

    def watch(self, in_flight: Callable[[], int], streams: Callable[[], int]) -> None:
        """Have a scrape ask how many queries and streams there are."""
        self._in_flight.set_function(in_flight)
        self._streams.set_function(streams)

    def watch_dashboard(self, viewers: Callable[[], int], readers: Callable[[], int]) -> None:
        """Have a scrape ask how many look at the dashboard, and whether anything is read for it."""
        self._viewers.set_function(viewers)
        self._readers.set_function(readers)

    def count_cancel(self) -> None:
        """Count a query that was taken back."""
        self._cancels.inc()

    def count_broken_stream(self) -> None:
        """Count a stream whose answer became another one."""
        self._broken.inc()

    def count_foreign_reply(self) -> None:
        """Count a reply that nobody waits for."""
        self._foreign.inc()

    def count_decode_error(self, topic: str) -> None:
        """Count a record of ``topic`` that could not be decoded."""
        self._decode_errors.labels(topic).inc()

    def count_feedback(self, feedback: Feedback) -> None:
        """Count what somebody thought of an answer."""
        rating = feedback.rating
        verdict = "none" if rating is None else "good" if rating >= _GOOD else "bad"
        self._feedback.labels(self._labels.label(feedback.adapter), verdict).inc()

    def know_registry(
        self, adapters: Collection[str], revision: int, names: Collection[str] = ()
    ) -> None:
        """Follow the registry: the versions it has, its revision, and what else to ask them by."""
        self._labels.learn(adapters)
        self._gen_ai.learn([*adapters, *names])
        self._adapters.set(len(adapters))
        self._revision.set(revision)
