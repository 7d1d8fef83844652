"""One trace over all hops: client, gateway, router, worker, and back, as a collector sees it."""

import asyncio
import secrets
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from confluent_kafka import Message

from cli.stack.ports import free_port
from schemas.codec import Codec
from schemas.records import Origin, Query, Response, Sampling
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.chaos.fleet import Fleet
from tests.integration.kafka.cluster import Cluster
from tests.integration.tracing.collector import Collector, running_collector

_SECONDS = 60.0
_ROLES = ("router", "worker", "gateway")
T = TypeVar("T")


class Service:
    """A router, a worker and a gateway that send their traces to a collector, from outside."""

    def __init__(self, kafka: str, folder: Path, endpoint: str) -> None:
        self.topics = Topics(f"traces-{uuid.uuid4().hex[:12]}.")
        self._cluster = Cluster(kafka)
        self._codec = Codec()
        self._api = folder / "api"
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
                "LORELAY_GATEWAY_PORT": "0",
                "LORELAY_GATEWAY_ADDRESS_FILE": str(self._api),
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            },
        )

    def start(self) -> None:
        async def ready() -> None:
            await create_topics(self._settings, self.topics.specs())
            members = [self._fleet.start(role, role) for role in _ROLES]
            await asyncio.gather(*map(self._fleet.until_ready, members))

        asyncio.run(ready())

    def terminate(self) -> list[int]:
        """Tells all to end; the status that each ends with."""
        members = [member for role in _ROLES for member in self._fleet.of_role(role)]
        for member in members:
            self._fleet.send(member, signal.SIGTERM)
        return [member.process.wait(_SECONDS) for member in members if member.process]

    @property
    def url(self) -> str:
        """Of the gateway."""
        return f"http://{self._api.read_text().strip()}"

    @contextmanager
    def nobody_answers(self) -> Iterator[None]:
        """The worker stands still within the block."""
        (worker,) = self._fleet.of_role("worker")
        self._fleet.send(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            self._fleet.send(worker, signal.SIGCONT)

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
                if response.origin == Origin(self.topics.queries, 0, offset):
                    return response, message
            return None

        return eventually(find, "the response")


def eventually(find: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + _SECONDS
    while (found := find()) is None:
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.1)
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
    spans = collector.spans(
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


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_one_trace_over_gateway_router_and_worker(
    service: Service, collector: Collector, stream: bool
) -> None:
    trace_id, client = secrets.token_hex(16), secrets.token_hex(8)
    body = {"messages": [{"role": "user", "content": "Ein vertrauliches Wort"}], "stream": stream}
    answer = httpx.post(
        f"{service.url}/v1/chat/completions",
        json=body | {"max_tokens": 8, "session": "s"},
        headers={"traceparent": f"00-{trace_id}-{client}-01", "tracestate": "client=1"},
        timeout=_SECONDS,
        trust_env=False,
    )
    assert answer.status_code == 200
    queries, requests, responses = (
        service.topics.queries,
        service.topics.requests,
        service.topics.responses,
    )
    way = [
        *("POST /v1/chat/completions", f"send {queries}"),
        *(f"process {queries}", f"send {requests}"),
        *(f"process {requests}", f"send {responses}"),
    ]
    spans = collector.spans(trace_id, {*way, "chat echo"})
    # Who called whom.
    assert [spans[name].parent_id for name in way] == [
        client,
        *(spans[name].span_id for name in way[:-1]),
    ]
    assert [spans[name].service for name in way] == [
        f"lorelay-{role}" for role in ("gateway", "router", "worker") for _ in range(2)
    ]
    # What the gateway says: as the worker, of what it has seen of it.
    asking, generating = spans[way[0]], spans["chat echo"]
    assert asking.attributes["http.response.status_code"] == 200
    assert asking.attributes["gen_ai.request.model"] == "lorelay"
    assert asking.attributes["lorelay.choice"] == "uncompared"
    for name in ("response.model", "usage.input_tokens", "usage.output_tokens", "conversation.id"):
        assert asking.attributes[f"gen_ai.{name}"] == generating.attributes[f"gen_ai.{name}"]
    assert ("gen_ai.response.time_to_first_chunk" in asking.attributes) == stream
    assert asking.start <= generating.end <= asking.end
    for span in spans.values():
        assert not span.is_error
        assert "vertraulich" not in str(span)


def test_a_request_whose_client_leaves_is_a_trace_that_says_so(
    service: Service, collector: Collector
) -> None:
    trace_id, client = secrets.token_hex(16), secrets.token_hex(8)

    async def leave() -> None:
        async with httpx.AsyncClient(
            base_url=service.url, timeout=_SECONDS, trust_env=False
        ) as api:
            asking = asyncio.create_task(
                api.post(
                    "/v1/completions",
                    json={"prompt": "x", "model": "base", "stream": True},
                    headers={"traceparent": f"00-{trace_id}-{client}-01"},
                )
            )
            await asyncio.to_thread(collector.spans, trace_id, {f"send {service.topics.queries}"})
            asking.cancel()

    with service.nobody_answers():
        asyncio.run(leave())
        spans = collector.spans(trace_id, {"POST /v1/completions"})
    asking = spans["POST /v1/completions"]
    assert asking.parent_id == client
    assert asking.is_error
    assert asking.attributes["error.type"] == "cancelled"
    assert asking.attributes["lorelay.error.code"] == "client_left"
    assert not spans[f"send {service.topics.queries}"].is_error


def test_a_request_whose_time_is_over_is_a_trace_that_says_so(
    service: Service, collector: Collector
) -> None:
    trace_id, client = secrets.token_hex(16), secrets.token_hex(8)
    answer = httpx.post(
        f"{service.url}/v1/completions",
        json={"prompt": "x", "model": "base", "timeout_ms": 1},
        headers={"traceparent": f"00-{trace_id}-{client}-01"},
        timeout=_SECONDS,
        trust_env=False,
    )
    assert answer.status_code == 504
    asking = collector.spans(trace_id, {"POST /v1/completions"})["POST /v1/completions"]
    assert asking.is_error
    assert asking.attributes["error.type"] == "deadline_exceeded"
    assert asking.attributes["http.response.status_code"] == 504


def test_a_query_that_fails_is_a_trace_that_says_so(service: Service, collector: Collector) -> None:
    trace_id, client = secrets.token_hex(16), secrets.token_hex(8)
    query = Query(id="q", prompt="x", adapter="no-such-adapter")
    response, _ = service.ask(query, f"00-{trace_id}-{client}-01")
    assert response.status == "error"
    queries, responses = service.topics.queries, service.topics.responses
    spans = collector.spans(trace_id, {f"process {queries}", f"send {responses}"})
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
    collector.spans(told, {f"send {service.topics.responses}"})
    assert collector.trace(untold) == []


def test_a_collector_that_is_away_costs_no_query_and_keeps_no_process(
    kafka: str, tmp_path: Path
) -> None:
    with running_service(kafka, tmp_path, f"http://127.0.0.1:{free_port()}") as service:
        context = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        response, _ = service.ask(Query(id="q", prompt="x", adapter="base"), context)
        assert response.status == "ok"
        assert service.terminate() == [0, 0, 0]
