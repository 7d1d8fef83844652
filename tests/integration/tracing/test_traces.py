"""One trace over all hops: client, router, worker, and back, as a collector sees it."""

import asyncio
import secrets
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka import Message

from cli.stack.ports import free_port
from schemas.codec import Codec
from schemas.records import Query, Response, Sampling
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.chaos.fleet import Fleet
from tests.integration.kafka.cluster import Cluster
from tests.integration.tracing.collector import Collector, Span, running_collector

_SECONDS = 60.0
T = TypeVar("T")


class Service:
    """A router and a worker that send their traces to a collector, from outside."""

    def __init__(self, kafka: str, folder: Path, endpoint: str) -> None:
        self.topics = Topics(f"traces-{uuid.uuid4().hex[:12]}.")
        self._cluster = Cluster(kafka)
        self._codec = Codec()
        self._settings = KafkaSettings(kafka=kafka, topic_prefix=self.topics.prefix)
        self._fleet = Fleet(
            folder,
            {
                "LORELAY_KAFKA": kafka,
                "LORELAY_TOPIC_PREFIX": self.topics.prefix,
                "LORELAY_ROUTER_GROUP": f"{self.topics.prefix}router",
                "LORELAY_WORKER_GROUP": f"{self.topics.prefix}worker",
                "LORELAY_ENGINE": "echo",
                "LORELAY_SERVICE_MS": "20",
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            },
        )

    def start(self) -> None:
        async def ready() -> None:
            await create_topics(self._settings, self.topics.specs())
            members = [self._fleet.start(role, role) for role in ("router", "worker")]
            await asyncio.gather(*map(self._fleet.until_ready, members))

        asyncio.run(ready())

    def terminate(self) -> list[int]:
        """Tells both to end; the status that each ends with."""
        members = [*self._fleet.of_role("router"), *self._fleet.of_role("worker")]
        for member in members:
            self._fleet.send(member, signal.SIGTERM)
        return [member.process.wait(_SECONDS) for member in members if member.process]

    def stop(self) -> None:
        self._fleet.close()
        self._cluster.clean_up(self.topics.prefix)

    def ask(self, query: Query, traceparent: str) -> tuple[Response, Message]:
        """The response to a query that a traced client sends."""
        headers = [("traceparent", traceparent.encode()), ("tracestate", b"client=1")]
        (offset,) = self._cluster.produce(
            self.topics.queries, [self._codec.encode(query)], headers=headers
        )

        def find() -> tuple[Response, Message] | None:
            for message in self._cluster.read(self.topics.responses):
                response = self._codec.decode(Response, message.value() or b"")
                if response.origin.offset == offset:
                    return response, message
            return None

        return eventually(find, "the response")


def spans_of(collector: Collector, trace_id: str, names: set[str]) -> dict[str, Span]:
    """The spans of a trace by name, once these are all there."""

    def find() -> dict[str, Span] | None:
        found = {span.name: span for span in collector.trace(trace_id)}
        return found if names <= set(found) else None

    return eventually(find, f"the spans {sorted(names)}")


def eventually(find: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + _SECONDS
    while (found := find()) is None:
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)
    return found


@contextmanager
def running_service(kafka: str, folder: Path, endpoint: str) -> Iterator[Service]:
    service = Service(kafka, folder, endpoint)
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def service(
    kafka: str, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with running_service(kafka, tmp_path_factory.mktemp("traces"), collector.endpoint) as running:
        yield running


def test_a_query_is_one_trace_from_its_client_to_its_response(
    service: Service, collector: Collector
) -> None:
    trace_id, client = secrets.token_hex(16), secrets.token_hex(8)
    sampling = Sampling(max_tokens=8, temperature=0.0)
    query = Query(id="q", prompt="Ein vertrauliches Wort", sampling=sampling, session="s")
    response, message = service.ask(query, f"00-{trace_id}-{client}-01")
    assert response.status == "ok"

    queries, requests, responses = (
        service.topics.queries,
        service.topics.requests,
        service.topics.responses,
    )
    spans = spans_of(
        collector,
        trace_id,
        {
            *(f"process {queries}", "receive", "encode", "route", f"send {requests}"),
            *(f"process {requests}", "queue", "text_completion echo", f"send {responses}"),
        },
    )
    # Who called whom.
    routing, serving = spans[f"process {queries}"], spans[f"process {requests}"]
    assert routing.parent_id == client
    assert serving.parent_id == spans[f"send {requests}"].span_id
    below = {name: span.parent_id for name, span in spans.items()}
    assert {below[name] for name in ("receive", "encode", "route", f"send {requests}")} == {
        routing.span_id
    }
    assert {below[name] for name in ("queue", "text_completion echo", f"send {responses}")} == {
        serving.span_id
    }
    assert {span.service for span in (routing, spans["route"])} == {"lorelay-router"}
    assert {span.service for span in (serving, spans["queue"])} == {"lorelay-worker"}
    # What the consumer of the response goes on with.
    headers = dict(message.headers() or [])
    assert headers["traceparent"] == (
        f"00-{trace_id}-{spans[f'send {responses}'].span_id}-01".encode()
    )
    assert headers["tracestate"] == b"client=1"
    # What they say, and in which order.
    generating = spans["text_completion echo"]
    assert generating.attributes["gen_ai.request.max_tokens"] == 8
    assert generating.attributes["gen_ai.usage.output_tokens"] == response.usage.completion_tokens
    assert generating.attributes["gen_ai.conversation.id"] == "s"
    assert spans["route"].attributes["lorelay.choice"] == "uncompared"
    for span in spans.values():
        assert span.start <= span.end
        assert not span.is_error
        assert "vertraulich" not in str(span)
    assert spans["receive"].start <= spans["route"].end <= serving.end
    assert spans["queue"].end <= generating.end <= spans[f"send {responses}"].end


def test_a_query_that_fails_is_a_trace_that_says_so(service: Service, collector: Collector) -> None:
    trace_id, client = secrets.token_hex(16), secrets.token_hex(8)
    query = Query(id="q", prompt="x", adapter="no-such-adapter")
    response, _ = service.ask(query, f"00-{trace_id}-{client}-01")
    assert response.status == "error"
    queries, responses = service.topics.queries, service.topics.responses
    spans = spans_of(collector, trace_id, {f"process {queries}", f"send {responses}"})
    routing = spans[f"process {queries}"]
    assert routing.is_error
    assert routing.attributes["error.type"] == "unknown_adapter"


def test_what_a_client_does_not_sample_is_answered_and_not_told(
    service: Service, collector: Collector
) -> None:
    untold, told = secrets.token_hex(16), secrets.token_hex(16)
    client = secrets.token_hex(8)
    for trace_id, flags in ((untold, "00"), (told, "01")):
        query = Query(id="q", prompt="x", adapter="base")
        response, message = service.ask(query, f"00-{trace_id}-{client}-{flags}")
        assert response.status == "ok"
        context = dict(message.headers() or [])["traceparent"]
        assert isinstance(context, bytes)
        assert context.startswith(f"00-{trace_id}-".encode())
        assert context.endswith(f"-{flags}".encode())
    spans_of(collector, told, {f"send {service.topics.responses}"})
    assert collector.trace(untold) == []


def test_a_collector_that_is_away_costs_no_query_and_keeps_no_process(
    kafka: str, tmp_path: Path
) -> None:
    with running_service(kafka, tmp_path, f"http://127.0.0.1:{free_port()}") as service:
        context = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        response, _ = service.ask(Query(id="q", prompt="x", adapter="base"), context)
        assert response.status == "ok"
        assert service.terminate() == [0, 0]
