"""A router process on topics of its own, and what goes in and comes out."""

import asyncio
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from confluent_kafka import Message

from schemas.codec import Codec
from schemas.records import (
    AdapterVersion,
    BaseModel,
    Example,
    ExampleSet,
    InferenceRequest,
    Query,
    Response,
    Routing,
)
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from tests.chaos.fleet import Fleet
from tests.integration.kafka.cluster import Cluster

_SECONDS = 60.0

T = TypeVar("T")

LEGAL = AdapterVersion(
    adapter_id="legal-qa-v1",
    adapter_version="1.0.0",
    family="legal-qa",
    domain="legal",
    task_type="qa",
    languages=("en",),
    base_model=BaseModel("echo"),
    status="active",
    example_parts=1,
)
MEDICAL = replace(
    LEGAL,
    adapter_id="medical-diagnosis-v1",
    family="medical-diagnosis",
    domain="medical",
    task_type="diagnosis",
)
LEGAL_TEXTS = (
    "How long is the notice period for a flat?",
    "May my landlord raise the rent twice in a year?",
    "When does a tenancy agreement end?",
    "Who pays for repairs in a rented house?",
    "Can a landlord keep the deposit?",
    "What must a lease contain to be valid?",
    "Is an oral rental contract binding?",
    "How can a tenant object to an eviction?",
)
MEDICAL_TEXTS = (
    "What causes a high fever in adults?",
    "Which symptoms point to pneumonia?",
    "When is a headache a sign of meningitis?",
    "What does chest pain with shortness of breath mean?",
    "How is anaemia recognised in a blood test?",
    "What are the first signs of diabetes?",
    "Which rash comes with measles?",
    "Why do ankles swell with heart failure?",
)


class RunningRouter:
    """The router's topics, from outside."""

    def __init__(self, kafka: str, folder: Path, **variables: str) -> None:
        self.topics = Topics(f"router-{uuid.uuid4().hex[:12]}.")
        self.cluster = Cluster(kafka)
        self.codec = Codec()
        # Topics are read again and again, from their beginning.
        self._decode = cache(self.codec.decode)
        self._settings = KafkaSettings(kafka=kafka, topic_prefix=self.topics.prefix)
        self._folder = folder
        self._fleet = Fleet(
            folder,
            variables
            | {
                "LORELAY_KAFKA": kafka,
                "LORELAY_TOPIC_PREFIX": self.topics.prefix,
                "LORELAY_ROUTER_GROUP": f"{self.topics.prefix}router",
            },
        )

    def start(self) -> None:
        async def ready() -> None:
            await create_topics(self._settings, self.topics.specs())
            self.register(LEGAL, LEGAL_TEXTS)
            self.register(MEDICAL, MEDICAL_TEXTS)
            await self._fleet.until_ready(self._fleet.start("router", "router"))

        asyncio.run(ready())

    def start_again(self, *names: str) -> None:
        """Kills the routers that run and starts these, side by side."""
        for member in self._fleet.of_role("router"):
            self._fleet.send(member, signal.SIGKILL)
            assert member.process is not None
            member.process.wait()

        async def ready() -> None:
            started = [self._fleet.start(name, "router") for name in names]
            await asyncio.gather(*(self._fleet.until_ready(member) for member in started))

        asyncio.run(ready())

    def kill_encoders(self) -> None:
        """Ends the processes that the routers encode in."""
        for member in self._fleet.of_role("router"):
            assert member.process is not None
            (encoder,) = psutil.Process(member.process.pid).children()
            encoder.kill()

    def stop(self) -> None:
        self._fleet.close()
        self.cluster.clean_up(self.topics.prefix)

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample of the first router's /metrics, None where it isn't there."""
        return self._fleet.metric("router", name, **labels)

    def register(self, version: AdapterVersion, texts: Sequence[str]) -> None:
        """Writes the records that make a version selectable; every fourth text is held out."""
        examples = tuple(Example(text, "en", i % 4 == 3) for i, text in enumerate(texts))
        part = ExampleSet(version.adapter_id, version.adapter_version, 0, 1, examples)
        key = version.key.encode()
        self.cluster.produce(self.topics.examples, [self.codec.encode(part)], key=key + b"#0")
        self.cluster.produce(self.topics.adapters, [self.codec.encode(version)], key=key)

    def send(
        self,
        query: Query | bytes,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> tuple[int, int]:
        """Writes a query; the partition and offset of its record."""
        value = query if isinstance(query, bytes) else self.codec.encode(query)
        partition = uuid.uuid4().int % 4
        (offset,) = self.cluster.produce(
            self.topics.queries, [value], partition=partition, key=key, headers=headers
        )
        return partition, offset

    def request(self, place: tuple[int, int]) -> tuple[InferenceRequest, Message]:
        """The request that a query's record has become."""

        def find() -> tuple[InferenceRequest, Message] | None:
            for message in self.cluster.read(self.topics.requests):
                request = self._decode(InferenceRequest, message.value() or b"")
                if (request.origin.partition, request.origin.offset) == place:
                    return request, message
            return None

        return eventually(find, f"the request of {place}")

    def response(
        self, place: tuple[int, int], topic: str | None = None
    ) -> tuple[Response, Message]:
        """The response that the router itself gave to a query's record."""

        def find() -> tuple[Response, Message] | None:
            for message in self.cluster.read(topic or self.topics.responses):
                response = self._decode(Response, message.value() or b"")
                if (response.origin.partition, response.origin.offset) == place:
                    return response, message
            return None

        return eventually(find, f"the response to {place}")

    def either(self, place: tuple[int, int]) -> Routing:
        """The routing of a query's request; an empty one where it was answered instead."""

        def find() -> Routing | None:
            for topic in (self.topics.requests, self.topics.responses):
                record_type = InferenceRequest if topic == self.topics.requests else Response
                for message in self.cluster.read(topic):
                    record = self._decode(record_type, message.value() or b"")
                    if (record.origin.partition, record.origin.offset) == place:
                        return record.routing or Routing()
            return None

        return eventually(find, f"anything for {place}")

    def dead_letter(self, place: tuple[int, int]) -> Message | None:
        """The dead letter of a query's record, if there is one now."""
        key = f"{self.topics.queries}/{place[0]}/{place[1]}".encode()
        found = [m for m in self.cluster.read(self.topics.dead_letters) if m.key() == key]
        assert len(found) <= 1
        return found[0] if found else None

    def dead_letter_from(self, origin: str) -> Message:
        """The dead letter that a redriven one has become."""

        def find() -> Message | None:
            for message in self.cluster.read(self.topics.dead_letters):
                if ("lorelay.redriven.from", origin.encode()) in (message.headers() or []):
                    return message
            return None

        return eventually(find, f"a dead letter from {origin}")


def eventually(find: Callable[[], T | None], what: str) -> T:
    """Polls until it finds something."""
    deadline = time.monotonic() + _SECONDS
    while (found := find()) is None:
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def router(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRouter]:
    running = RunningRouter(kafka, tmp_path_factory.mktemp("router"))
    try:
        running.start()
        yield running
    finally:
        running.stop()
