"""A router, a worker with the echo engine and gateways, on topics of their own."""

import asyncio
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import httpx
from openai import AsyncOpenAI, OpenAI

from schemas.codec import Codec
from schemas.json_form import to_json
from schemas.records import (
    AdapterVersion,
    Artifact,
    BaseModel,
    Cancel,
    Chunk,
    Example,
    ExampleSet,
    Origin,
    Query,
    Response,
    Training,
)
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import partition_for
from tests.chaos.fleet import Fleet, Member
from tests.integration.kafka.cluster import Cluster
from tests.unit.streams.registry.factories import version, write_weights

_SECONDS = 90.0

T = TypeVar("T")

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
LEGAL, MEDICAL = "legal-qa-v1", "medical-qa-v1"


def eventually(find: Callable[[], T | None], what: str) -> T:
    """Polls until it finds something."""
    deadline = time.monotonic() + _SECONDS
    while not (found := find()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)
    return found


class RunningSystem:
    """The system from outside: its HTTP addresses, and its topics."""

    def __init__(self, kafka: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.topics = Topics(f"gateway-{uuid.uuid4().hex[:12]}.")
        self.cluster = Cluster(kafka)
        self.codec = Codec()
        # Topics are read again and again, from their beginning.
        self._decode = cache(self.codec.decode)
        self._settings = KafkaSettings(kafka=kafka, topic_prefix=self.topics.prefix)
        self._folder = folder
        self.fleet = Fleet(
            folder,
            {
                "LORELAY_KAFKA": kafka,
                "LORELAY_TOPIC_PREFIX": self.topics.prefix,
                "LORELAY_ROUTER_GROUP": f"{self.topics.prefix}router",
                "LORELAY_WORKER_GROUP": f"{self.topics.prefix}worker",
                "LORELAY_ENGINE": "echo",
                "LORELAY_MODEL": "echo",
                **variables,
            },
        )

    def start(self, gateways: int = 1) -> None:
        """Starts all, with so many gateways: `gateway`, `gateway-2` and so on."""
        names = ["gateway", *(f"gateway-{number}" for number in range(2, gateways + 1))]

        async def ready() -> None:
            await self.create_topics()
            self.register(LEGAL, LEGAL_TEXTS)
            self.register(MEDICAL, MEDICAL_TEXTS)
            members = [
                self.fleet.start("router", "router"),
                self.fleet.start("worker", "worker"),
                *(self.launch_gateway(name) for name in names),
            ]
            await asyncio.gather(*(self.fleet.until_ready(member) for member in members))

        asyncio.run(ready())

    async def create_topics(self) -> None:
        await create_topics(self._settings, self.topics.specs())

    def stop(self) -> None:
        self.fleet.close()
        self.cluster.clean_up(self.topics.prefix)

    def launch_gateway(self, name: str, **variables: str) -> Member:
        own = {
            "LORELAY_INSTANCE": name,
            "LORELAY_GATEWAY_PORT": "0",
            "LORELAY_GATEWAY_ADDRESS_FILE": str(self._folder / f"{name}.api"),
        }
        return self.fleet.start(name, "gateway", **(own | variables))

    def start_gateway(self, name: str, **variables: str) -> Member:
        """One more, ready."""
        member = self.launch_gateway(name, **variables)
        asyncio.run(self.fleet.until_ready(member))
        return member

    def url(self, gateway: str = "gateway") -> str:
        return f"http://{(self._folder / f'{gateway}.api').read_text().strip()}"

    def openai(self, gateway: str = "gateway", **options: Any) -> OpenAI:
        """OpenAI's own client."""
        return OpenAI(base_url=f"{self.url(gateway)}/v1", api_key="none", **options)

    def openai_async(self, gateway: str = "gateway") -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.url(gateway)}/v1", api_key="none")

    def http(self, gateway: str = "gateway") -> httpx.Client:
        return httpx.Client(base_url=self.url(gateway), timeout=60.0, trust_env=False)

    def register(self, adapter_id: str, texts: Sequence[str]) -> AdapterVersion:
        """Writes the records that make an adapter served and selected."""
        folder = self._folder / adapter_id
        write_weights(folder)
        digest = sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
        adapter = version(
            adapter_id,
            base_model=BaseModel("echo"),
            training=Training(lora_rank=4),
            artifact=Artifact(str(folder), digest, 1),
            languages=("en",),
            example_parts=1,
        )
        examples = tuple(Example(text, "en", i % 4 == 3) for i, text in enumerate(texts))
        part = ExampleSet(adapter_id, "1.0.0", 0, 1, examples)
        key = adapter.key.encode()
        self.cluster.produce(self.topics.examples, [self.codec.encode(part)], key=key + b"#0")
        self.cluster.produce(self.topics.adapters, [self.codec.encode(adapter)], key=key)
        return adapter

    @contextmanager
    def nobody_answers(self) -> Iterator[None]:
        """The worker stands still within the block."""
        (worker,) = self.fleet.of_role("worker")
        self.fleet.send(worker, signal.SIGSTOP)
        try:
            yield
        finally:
            self.resume()

    def resume(self) -> None:
        """The worker goes on."""
        (worker,) = self.fleet.of_role("worker")
        self.fleet.send(worker, signal.SIGCONT)

    def cancel(self, query_id: str) -> None:
        value = to_json(Cancel(query_id, "the test says so")).encode()
        self.cluster.produce(self.topics.cancels, [value], key=query_id.encode())

    def begin_answer(self, query_id: str, text: str) -> None:
        """Writes the first chunk of an answer, as a worker that dies then."""
        (query,) = [
            m for m in self.cluster.read(self.topics.queries) if m.key() == query_id.encode()
        ]
        origin = Origin(self.topics.queries, query.partition() or 0, query.offset() or 0)
        chunk = Chunk(query_id=query_id, origin=origin, sequence=0, text=text)
        self._produce(self.topics.chunks, query_id, self.codec.encode(chunk))

    def spoil_answer(self, query_id: str) -> None:
        """Writes a response, and a chunk, that nobody can read."""
        for topic in (self.topics.chunks, self.topics.responses):
            self._produce(topic, query_id, b"neither Avro nor JSON")

    def _produce(self, topic: str, query_id: str, value: bytes) -> None:
        key = query_id.encode()
        partition = partition_for(key, self.cluster.topics()[topic])
        self.cluster.produce(topic, [value], key=key, partition=partition)

    def cancels(self) -> list[Cancel]:
        return [
            self._decode(Cancel, message.value() or b"")
            for message in self.cluster.read(self.topics.cancels)
        ]

    def queries(self) -> list[Query]:
        return [
            self._decode(Query, message.value() or b"")
            for message in self.cluster.read(self.topics.queries)
        ]

    def responses(self, query_id: str) -> list[Response]:
        return [
            self._decode(Response, message.value() or b"")
            for message in self.cluster.read(self.topics.responses)
            if message.key() == query_id.encode()
        ]

    def reply_partitions(self, query_ids: Sequence[str]) -> set[int]:
        """Which partitions the replies to these queries are on."""
        keys = {query_id.encode() for query_id in query_ids}
        found = [m for m in self.cluster.read(self.topics.replies) if m.key() in keys]
        assert len(found) == len(keys)
        return {message.partition() or 0 for message in found}

    def await_query(self, query_id: str) -> Query:
        """The query, once it is on its topic."""
        return eventually(
            lambda: next((query for query in self.queries() if query.id == query_id), None),
            f"the query {query_id}",
        )

    def metric(self, name: str, gateway: str = "gateway") -> float:
        """A sample of the gateway's /metrics, summed over its labels."""
        return sum(sample.value for sample in self.fleet.samples(gateway, name))


@contextmanager
def running_system(
    kafka: str, folder: Path, variables: Mapping[str, str], *, gateways: int = 1
) -> Iterator[RunningSystem]:
    """A started system that ends with the block."""
    running = RunningSystem(kafka, folder, variables)
    try:
        running.start(gateways)
        yield running
    finally:
        running.stop()
