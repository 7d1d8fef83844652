"""Worker processes on topics of their own, and what goes in and comes out."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka import Message

from schemas.codec import Codec
from schemas.json_form import to_json
from schemas.records import (
    AdapterVersion,
    Artifact,
    BaseModel,
    Cancel,
    InferenceRequest,
    Origin,
    Query,
    Response,
    Routing,
    Training,
    WorkerState,
)
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.chaos.fleet import Fleet, Member
from tests.integration.kafka.cluster import Cluster
from tests.unit.streams.registry.factories import version

#: vLLM starts again meanwhile, where it is the engine.
_SECONDS = 180.0
#: What the echo engine serves, which is the engine where a test says nothing else.
ECHO = BaseModel("echo")

T = TypeVar("T")


class RunningWorker:
    """A worker's topics, from outside; each has its own prefix."""

    def __init__(self, kafka: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.topics = Topics(f"worker-{uuid.uuid4().hex[:12]}.")
        self.cluster = Cluster(kafka)
        self.codec = Codec()
        # Topics are read again and again, from their beginning.
        self._decode = cache(self.codec.decode)
        self._settings = KafkaSettings(kafka=kafka, topic_prefix=self.topics.prefix)
        self.fleet = Fleet(
            folder,
            {
                "LORELAY_KAFKA": kafka,
                "LORELAY_TOPIC_PREFIX": self.topics.prefix,
                "LORELAY_WORKER_GROUP": f"{self.topics.prefix}worker",
                "LORELAY_ENGINE": "echo",
                "LORELAY_MODEL": "echo",
                "LORELAY_SESSION_TIMEOUT": "6",
                "LORELAY_HEARTBEAT_SECONDS": "0.5",
                **variables,
            },
        )
        self._sent = 0
        self._registered = 0

    def create_topics(self) -> None:
        asyncio.run(create_topics(self._settings, self.topics.specs()))

    def start(self, name: str = "worker") -> Member:
        """Starts a worker and returns when it is ready."""

        async def ready() -> Member:
            member = self.fleet.start(name, "worker")
            await self.fleet.until_ready(member)
            return member

        return asyncio.run(ready())

    def stop(self) -> None:
        self.fleet.close()
        self.cluster.clean_up(self.topics.prefix)

    def request(self, query: Query, *, adapter: str | None = None, attempt: int = 1) -> Origin:
        """Writes a request to partition 0; the origin that its response will name."""
        self._sent += 1
        origin = Origin(self.topics.queries, 0, self._sent)
        made = InferenceRequest(
            replace(query, id=query.id or f"q{self._sent}", created_at=datetime.now(UTC)),
            Routing(adapter=adapter),
            origin,
            attempt,
            # The offset of the last version: it is waited for.
            registry_revision=self._registered - 1,
        )
        self.cluster.produce(self.topics.requests, [self.codec.encode(made)], partition=0)
        return origin

    def cancel(self, query_id: str) -> None:
        value = to_json(Cancel(query_id, "the test says so")).encode()
        self.cluster.produce(self.topics.cancels, [value], partition=0)

    def register(self, number: str, folder: Path, base_model: BaseModel = ECHO) -> AdapterVersion:
        """Writes a version of legal-qa-v1 to the registry, by the weights in its folder."""
        weights = folder / "adapter_model.safetensors"
        digest = sha256(weights.read_bytes()).hexdigest() if weights.exists() else "0" * 64
        adapter = version(
            number=number,
            base_model=base_model,
            training=Training(),
            artifact=Artifact(str(folder), digest, 1),
        )
        self.cluster.produce(
            self.topics.adapters, [self.codec.encode(adapter)], key=adapter.key.encode()
        )
        self._registered += 1
        return adapter

    def requests(self) -> list[InferenceRequest]:
        """All that were ever written, retries among them."""
        return [
            self._decode(InferenceRequest, message.value() or b"")
            for message in self.cluster.read(self.topics.requests)
        ]

    def responses(self) -> list[Response]:
        """All there are now, in the order of their partitions and offsets."""
        return [
            self._decode(Response, message.value() or b"")
            for message in self.cluster.read(self.topics.responses)
        ]

    def response(self, origin: Origin) -> Response:
        """The one response to a request."""
        return eventually(
            lambda: next((r for r in self.responses() if r.origin == origin), None),
            f"the response to {origin}",
        )

    def dead_letters(self) -> list[Message]:
        return list(self.cluster.read(self.topics.dead_letters))

    def state(self, is_wanted: Callable[[WorkerState], bool]) -> WorkerState:
        """The first state, from now on, that is as wanted."""

        def find() -> WorkerState | None:
            messages = self.cluster.read(self.topics.workers)
            states = [self._decode(WorkerState, m.value() or b"") for m in messages[-3:]]
            return next((state for state in states if is_wanted(state)), None)

        return eventually(find, "such a state of the worker")


def eventually(find: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + _SECONDS
    while (found := find()) is None:
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.1)
    return found


Starter = Callable[..., RunningWorker]


@contextmanager
def started_workers(kafka: str, folder: Path) -> Iterator[Starter]:
    running: list[RunningWorker] = []

    def start(
        before: Callable[[RunningWorker], None] = lambda worker: None, **variables: str
    ) -> RunningWorker:
        worker = RunningWorker(kafka, folder, variables)
        running.append(worker)
        worker.create_topics()
        before(worker)
        worker.start()
        return worker

    try:
        yield start
    finally:
        for worker in running:
            worker.stop()


@pytest.fixture
def start_worker(kafka: str, tmp_path: Path) -> Iterator[Starter]:
    """Starts a worker with these LORELAY_* variables; `before` that, its topics are there."""
    with started_workers(kafka, tmp_path) as start:
        yield start
