"""A version in shadow runs where there is room, gives way, and is lost rather than in the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from inference.adapters.files import AdapterFiles
from inference.adapters.store import AdapterStore
from inference.engine.echo import EchoEngine
from inference.engine.protocol import EngineLimits
from inference.scheduling.admission import Admission
from inference.worker.shadow import Shadowing
from schemas.codec import Codec
from schemas.records import (
    AdapterVersion,
    Artifact,
    BaseModel,
    Canary,
    InferenceRequest,
    Origin,
    Query,
    Response,
    Routing,
    Traffic,
    Training,
)
from schemas.topics import Topics
from streams.kafka.settings import KafkaSettings
from streams.registry.artifact import digest
from streams.registry.reader import Registry
from streams.telemetry.metrics import WorkerMetrics
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import eventually
from tests.unit.streams.registry.factories import NOW, version, write_weights

PLACES = 4
OLD = "legal-qa-v1@1.0.0"


class Shadowed:
    """A worker's shadow without the worker: its engine, its turns, and what came of it all."""

    def __init__(self, settings: KafkaSettings, folder: Path, **engine: object) -> None:
        self._settings = settings
        limits = EngineLimits(BaseModel("tiny"), 128, PLACES, 2, 2, 16)
        self.engine = EchoEngine(limits, **engine)  # type: ignore[arg-type]
        self.store = AdapterStore(self.engine, AdapterFiles(lambda: self.engine.limits))
        self.admission = Admission(PLACES)
        self.registry = Registry()
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.new = registered(folder)
        for offset, each in enumerate((version(), self.new)):
            self.registry.apply_version(each.key, each, offset)
        self.try_in_shadow(self.new)

    def try_in_shadow(self, wanted: AdapterVersion, share: float = 100.0) -> None:
        plan = Canary(
            adapter=wanted.key,
            share=share,
            shadow=True,
            started_at=NOW,
            ends_at=NOW + timedelta(hours=1),
        )
        self.registry.apply_traffic("legal-qa", Traffic("legal-qa", 2, canary=plan))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Shadowing]:
        await self.engine.start()
        shadowing = Shadowing(
            self._settings,
            Codec(),
            engine=self.engine,
            store=self.store,
            admission=self.admission,
            registry=self.registry,
            metrics=self.metrics,
            name="worker",
        )
        try:
            await shadowing.start()
            yield shadowing
        finally:
            await shadowing.stop()

    def count(self, outcome: str) -> float:
        name = "lorelay_worker_shadow_requests_total"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0

    async def until(self, outcome: str, count: int = 1) -> None:
        await eventually(lambda: self.count(outcome) >= count, f"{count} {outcome}")


def registered(folder: Path, number: str = "1.1.0") -> AdapterVersion:
    write_weights(folder)
    weights = folder / "adapter_model.safetensors"
    artifact = Artifact(folder.as_uri(), digest(weights), weights.stat().st_size)
    return version(
        number=number,
        status="canary",
        base_model=BaseModel("tiny"),
        training=Training(lora_rank=4),
        artifact=artifact,
    )


def request(
    number: int = 1, *, variant: str | None = "v1", prompt: str = "Wer?"
) -> InferenceRequest:
    query = Query(id=f"q{number}", prompt=prompt, priority=9, created_at=NOW, stream=True)
    return InferenceRequest(query, Routing(adapter=OLD, variant=variant), Origin("q", 0, number))


@pytest.fixture
def cluster(kafka: str) -> Cluster:
    return Cluster(kafka)


@pytest.fixture
def shadowed(
    kafka_settings: KafkaSettings, live_topics: Topics, tmp_path: Path
) -> Callable[..., Shadowed]:
    return lambda **engine: Shadowed(kafka_settings, tmp_path / "new", **engine)


def answers(cluster: Cluster, topics: Topics) -> list[Response]:
    messages = cluster.read(topics.shadow)
    return [Codec().decode(Response, message.value() or b"") for message in messages]


async def test_what_is_answered_is_answered_once_more_on_the_shadow_topic(
    shadowed: Callable[..., Shadowed], cluster: Cluster, live_topics: Topics
) -> None:
    made = shadowed()
    async with made.running() as shadowing:
        shadowing.offer(request(), ())
        await made.until("ok")
    (response,) = await asyncio.to_thread(answers, cluster, live_topics)
    assert (response.adapter, response.status) == (made.new.key, "ok")
    assert response.text == f"[{made.new.key}] Wer?"
    assert response.routing == replace(request().routing, variant="shadow")
    assert (response.query_id, response.origin) == ("q1", request().origin)
    assert response.timing.total_ms is None


async def test_what_named_its_version_is_nobody_elses(shadowed: Callable[..., Shadowed]) -> None:
    made = shadowed()
    async with made.running() as shadowing:
        shadowing.offer(request(1, variant=None), ())
        shadowing.offer(request(2), ())
        await made.until("ok")
    assert made.count("ok") == 1


async def test_its_share_of_the_sessions_is_taken(shadowed: Callable[..., Shadowed]) -> None:
    made = shadowed()
    made.try_in_shadow(made.new, share=0.001)
    async with made.running() as shadowing:
        for number in range(50):
            shadowing.offer(request(number), ())
        made.try_in_shadow(made.new)
        shadowing.offer(request(99), ())
        await made.until("ok")
    assert made.count("ok") == 1


async def test_it_waits_while_half_of_the_places_are_taken(
    shadowed: Callable[..., Shadowed],
) -> None:
    made = shadowed()
    async with made.running() as shadowing, made.admission.turn(request(2)):
        async with made.admission.turn(request(3)), made.admission.turn(request(4)):
            shadowing.offer(request(), ())
            assert not made.admission.is_roomy
            assert made.count("ok") == 0
        await made.until("ok")


async def test_it_gives_way_as_soon_as_somebody_waits(shadowed: Callable[..., Shadowed]) -> None:
    made = shadowed(service_ms=60_000.0)
    async with made.running() as shadowing:
        shadowing.offer(request(), ())
        await eventually(lambda: made.store.resident, "the shadow at work")
        turns = [made.admission.turn(request(number)) for number in range(2, 2 + PLACES)]
        for turn in turns:
            await turn.__aenter__()
        assert made.count("dropped") == 0
        waiting = asyncio.create_task(made.admission.turn(request(9)).__aenter__())
        await made.until("dropped")
        assert made.count("ok") == 0
        for turn in turns:
            await turn.__aexit__(None, None, None)
        await waiting


async def test_it_gives_way_to_an_adapter_that_the_batch_has_no_place_for(
    shadowed: Callable[..., Shadowed],
) -> None:
    made = shadowed(service_ms=60_000.0)
    async with made.running() as shadowing:
        shadowing.offer(request(), ())
        await eventually(lambda: made.store.resident, "the shadow at work")
        with shadowing.beside("a-b-v1@1.0.0"), shadowing.beside(None):
            assert made.count("dropped") == 0
            with shadowing.beside("c-d-v1@1.0.0"):
                await made.until("dropped")


async def test_no_adapter_is_evicted_for_it(
    shadowed: Callable[..., Shadowed], tmp_path: Path
) -> None:
    made = shadowed()
    async with made.running() as shadowing:
        for number in (5, 6):
            await made.store.ensure(registered(tmp_path / str(number), f"1.{number}.0"))
        held = made.store.resident
        shadowing.offer(request(), ())
        made.registry.apply_traffic("legal-qa", None)
        await made.until("dropped")
        assert made.store.resident == held


async def test_what_comes_too_fast_is_lost(shadowed: Callable[..., Shadowed]) -> None:
    made = shadowed(service_ms=60_000.0)
    async with made.running() as shadowing:
        for number in range(200):
            shadowing.offer(request(number), ())
        assert made.count("dropped") == 200 - 64


async def test_a_version_that_can_not_be_loaded_fails_here_and_harms_nobody(
    shadowed: Callable[..., Shadowed], cluster: Cluster, live_topics: Topics, tmp_path: Path
) -> None:
    made = shadowed()
    (tmp_path / "new" / "adapter_model.safetensors").write_bytes(b"no weights")
    async with made.running() as shadowing:
        shadowing.offer(request(), ())
        await made.until("error")
    (response,) = await asyncio.to_thread(answers, cluster, live_topics)
    assert response.error is not None
    assert (response.adapter, response.error.code) == (made.new.key, "adapter_corrupt")


async def test_one_that_the_engine_dies_of_is_never_tried_again(
    shadowed: Callable[..., Shadowed],
) -> None:
    made = shadowed(crash_on="Gift")
    async with made.running() as shadowing:
        shadowing.offer(request(prompt="Gift"), ())
        await made.until("error")
        await made.engine.start()
        for number in range(5):
            shadowing.offer(request(number), ())
        made.try_in_shadow(registered_as_another(made))
        shadowing.offer(request(7), ())
        await made.until("ok")
    assert (made.count("ok"), made.count("error")) == (1, 1)


def registered_as_another(made: Shadowed) -> AdapterVersion:
    another = replace(made.new, adapter_version="1.2.0")
    made.registry.apply_version(another.key, another, 9)
    return another
