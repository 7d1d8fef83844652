"""The registry on a real broker: what is written is read, and only one writer at a time."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.codec import Codec
from schemas.definitions import SCHEMAS
from schemas.errors import (
    AdapterUnavailable,
    RegistrationRefused,
    RegistryConflict,
    UnknownAdapter,
)
from schemas.records import AdapterVersion, BaseModel, LifecycleEvent, Record
from schemas.topics import Topics
from streams.kafka.settings import KafkaSettings
from streams.registry.candidate import Candidate, read_candidate
from streams.registry.follow import RegistryFollower
from streams.registry.validation import Novelty
from streams.registry.writer import RegistryWriter, transactional_id
from tests.integration.kafka.members import eventually
from tests.unit.streams.registry.factories import (
    some_examples,
    version,
    worker,
    write_adapter,
)

pytestmark = pytest.mark.usefixtures("live_topics")


def now() -> datetime:
    return datetime.now(UTC)


def writer(settings: KafkaSettings) -> RegistryWriter:
    return RegistryWriter(settings, Codec(), "tester")


async def register(settings: KafkaSettings, candidate: Candidate) -> Novelty:
    async with writer(settings) as open_writer:
        novelty, _ = await open_writer.register(candidate, now())
    return novelty


@asynccontextmanager
async def following(settings: KafkaSettings) -> AsyncIterator[RegistryFollower]:
    follower = RegistryFollower(settings, Codec())
    await follower.start()
    try:
        yield follower
    finally:
        await follower.stop()


async def publish(
    settings: KafkaSettings, topic: str, key: str, value: Record | bytes | None
) -> None:
    payload = Codec().encode(value) if isinstance(value, Record) else value
    async with AIOKafkaProducer(**settings.client_kwargs()) as producer:
        await producer.send_and_wait(topic, payload, key.encode())


def candidate(folder: Path, **changes: object) -> Candidate:
    return read_candidate(write_adapter(folder, **changes), now())  # type: ignore[arg-type]


class TestRegistering:
    async def test_a_registered_version_reaches_followers_that_run(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        async with following(kafka_settings) as follower:
            changes = []
            follower.on_change(lambda: changes.append(follower.registry.revision))
            assert await register(kafka_settings, candidate(tmp_path / "a")) is Novelty.NEW
            await eventually(
                lambda: "legal-qa-v1@1.2.0" in follower.registry.selectable(), "selectable"
            )
            assert changes
            entry = follower.registry.selectable()["legal-qa-v1@1.2.0"]
            assert [example.text for example in entry.examples] == [f"Frage {n}?" for n in range(4)]

    async def test_it_is_there_for_those_who_come_later(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        registered = candidate(tmp_path / "a")
        await register(kafka_settings, registered)
        async with following(kafka_settings) as follower:
            assert follower.registry.get("legal-qa-v1@1.2.0") == registered.version
            assert set(follower.registry.selectable()) == {"legal-qa-v1@1.2.0"}

    async def test_a_record_under_anothers_key_is_left_out(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        registered = candidate(tmp_path / "a")
        await register(kafka_settings, registered)
        topic = kafka_settings.topics.adapters
        await publish(kafka_settings, topic, "tax-qa-v1@1.0.0", registered.version)
        async with following(kafka_settings) as follower:
            assert follower.registry.keys() == (registered.version.key,)
            assert set(follower.registry.selectable()) == {registered.version.key}

    async def test_ten_thousand_examples_arrive_whole(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        folder = write_adapter(tmp_path / "a", examples=10_000)
        await register(kafka_settings, read_candidate(folder, now()))
        async with following(kafka_settings) as follower:
            examples = follower.registry.examples("legal-qa-v1@1.2.0")
            assert examples is not None
            assert len(examples) == 10_000

    async def test_one_writer_registers_several_versions(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        async with writer(kafka_settings) as open_writer:
            for number in range(3):
                changed = candidate(tmp_path / str(number), adapter_version=f"1.0.{number}")
                await open_writer.register(changed, now())
            assert len(open_writer.registry.keys()) == 3
        async with following(kafka_settings) as follower:
            assert len(follower.registry.keys()) == 3

    async def test_registering_again_writes_nothing(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        await register(kafka_settings, candidate(tmp_path / "a"))
        async with following(kafka_settings) as follower:
            before = follower.registry.revision
            assert await register(kafka_settings, candidate(tmp_path / "a")) is Novelty.SAME
            async with following(kafka_settings) as later:
                assert later.registry.revision == before

    async def test_the_same_files_elsewhere_are_a_new_place(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        await register(kafka_settings, candidate(tmp_path / "a"))
        assert await register(kafka_settings, candidate(tmp_path / "b")) is Novelty.MOVED
        async with following(kafka_settings) as follower:
            found = follower.registry.get("legal-qa-v1@1.2.0")
            assert found is not None
            assert found.artifact is not None
            assert found.artifact.uri == (tmp_path / "b").resolve().as_uri()

    async def test_other_weights_under_the_same_version_are_refused(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        await register(kafka_settings, candidate(tmp_path / "a"))
        with pytest.raises(RegistrationRefused, match="another sha256"):
            await register(kafka_settings, candidate(tmp_path / "b", seed=1))

    async def test_the_lifecycle_log_says_who_registered_what(
        self, kafka_settings: KafkaSettings, live_topics: Topics, tmp_path: Path
    ) -> None:
        await register(kafka_settings, candidate(tmp_path / "a"))
        consumer = AIOKafkaConsumer(
            live_topics.lifecycle,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            **kafka_settings.client_kwargs(),
        )
        async with consumer, asyncio.timeout(20):
            record = await consumer.getone()
        event = Codec().decode(LifecycleEvent, record.value)
        assert (event.event, event.adapter, event.actor) == (
            "registered",
            "legal-qa-v1@1.2.0",
            "tester",
        )
        assert (event.family, event.to_status) == ("legal-qa", "active")
        assert dict(record.headers)["ce_type"] == b"lorelay.LifecycleEvent"


class TestEngines:
    async def test_a_living_workers_limits_count(
        self, kafka_settings: KafkaSettings, live_topics: Topics, tmp_path: Path
    ) -> None:
        state = worker(base_model=BaseModel("another"), heartbeat_at=now())
        await publish(kafka_settings, live_topics.workers, "w-1", state)
        with pytest.raises(RegistrationRefused, match="worker w-1 serves another"):
            await register(kafka_settings, candidate(tmp_path / "a"))

    async def test_a_worker_that_is_gone_counts_no_more(
        self, kafka_settings: KafkaSettings, live_topics: Topics, tmp_path: Path
    ) -> None:
        state = worker(base_model=BaseModel("another"), heartbeat_at=now() - timedelta(minutes=1))
        await publish(kafka_settings, live_topics.workers, "w-1", state)
        await publish(kafka_settings, live_topics.workers, "w-2", b"no state at all")
        async with writer(kafka_settings) as open_writer:
            novelty, warnings = await open_writer.register(candidate(tmp_path / "a"), now())
        assert novelty is Novelty.NEW
        assert any("No worker is running" in warning for warning in warnings)


@pytest.fixture
def no_futures_left() -> Iterator[None]:
    """Collects the futures that aiokafka leaves unread in a fenced producer.

    Python 3.11 crashes where their report, with its traceback, interrupts a compilation.
    """
    yield
    gc.collect()


@pytest.mark.usefixtures("no_futures_left")
class TestOneWriterAtATime:
    async def test_a_second_writer_ends_the_first_ones_turn(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        async with writer(kafka_settings) as first, writer(kafka_settings) as second:
            with pytest.raises(RegistryConflict, match="try again") as caught:
                await first.register(candidate(tmp_path / "a"), now())
            assert caught.value.retryable
            novelty, _ = await second.register(candidate(tmp_path / "a"), now())
            assert novelty is Novelty.NEW

    async def test_of_many_at_once_none_is_written_twice_and_none_in_half(
        self, kafka_settings: KafkaSettings, tmp_path: Path
    ) -> None:
        candidates = [candidate(tmp_path / str(seed), seed=seed) for seed in range(4)]
        results = await asyncio.gather(
            *(register(kafka_settings, each) for each in candidates), return_exceptions=True
        )
        assert all(isinstance(r, Novelty | RegistrationRefused) for r in results), results
        assert results.count(Novelty.NEW) == 1
        winner = candidates[results.index(Novelty.NEW)]
        async with following(kafka_settings) as follower:
            found = follower.registry.get("legal-qa-v1@1.2.0")
            assert found is not None
            assert winner.version.artifact is not None
            assert found.artifact == winner.version.artifact

    async def test_what_a_killed_writer_left_open_never_happened(
        self, kafka_settings: KafkaSettings, live_topics: Topics, tmp_path: Path
    ) -> None:
        killed = AIOKafkaProducer(
            transactional_id=transactional_id(kafka_settings), **kafka_settings.client_kwargs()
        )
        await killed.start()
        await killed.begin_transaction()
        half = version("medical-qa-v1")
        delivery = await killed.send(live_topics.adapters, Codec().encode(half), half.key.encode())
        await delivery
        try:
            await register(kafka_settings, candidate(tmp_path / "a"))
            async with following(kafka_settings) as follower:
                assert follower.registry.keys() == ("legal-qa-v1@1.2.0",)
        finally:
            await killed.stop()


class TestFollowing:
    async def test_a_version_may_be_awaited_by_its_revision(
        self, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        async with following(kafka_settings) as follower:
            awaited = asyncio.create_task(follower.version("legal-qa-v1@1.0.0", 0))
            await publish(kafka_settings, live_topics.adapters, "legal-qa-v1@1.0.0", version())
            async with asyncio.timeout(20):
                assert await awaited == version()

    async def test_a_revision_that_does_not_come_makes_it_unavailable(
        self, kafka_settings: KafkaSettings
    ) -> None:
        async with following(kafka_settings) as follower:
            with pytest.raises(AdapterUnavailable, match="revision 5"):
                await follower.version("legal-qa-v1@1.0.0", 5, timeout_s=0.05)

    async def test_a_version_that_its_revision_does_not_have_is_unknown(
        self, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        await publish(kafka_settings, live_topics.adapters, "legal-qa-v1@1.0.0", version())
        async with following(kafka_settings) as follower:
            with pytest.raises(UnknownAdapter):
                await follower.version("legal-qa-v1@9.0.0", 0)

    async def test_a_record_that_cannot_be_read_is_passed_over(
        self, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        await publish(kafka_settings, live_topics.adapters, "x", b"garbage")
        await publish(kafka_settings, live_topics.examples, "x#0", b"garbage")
        await publish(kafka_settings, live_topics.schemas, "00", b"garbage")
        await publish(kafka_settings, live_topics.adapters, "y", version(number="latest"))
        async with following(kafka_settings) as follower:
            assert follower.registry.keys() == ()
            assert follower.registry.revision == 1
            await publish(kafka_settings, live_topics.adapters, "legal-qa-v1@1.0.0", version())
            await eventually(
                lambda: follower.registry.keys() == ("legal-qa-v1@1.0.0",), "registered"
            )
            await publish(kafka_settings, live_topics.adapters, "legal-qa-v1@1.0.0", None)
            await eventually(lambda: follower.registry.keys() == (), "removed")

    async def test_a_later_versions_record_is_read_once_its_schema_is_published(
        self, kafka_settings: KafkaSettings, live_topics: Topics
    ) -> None:
        tree = json.loads(SCHEMAS[AdapterVersion].text)
        tree["fields"].append({"name": "mood", "type": ["null", "string"], "default": None})
        text = json.dumps(tree)
        fingerprint = Codec().learn(text)
        body = Codec().encode(version())[10:] + b"\0"  # the new field, null
        payload = b"\xc3\x01" + bytes.fromhex(fingerprint) + body
        async with following(kafka_settings) as follower:
            await publish(kafka_settings, live_topics.adapters, version().key, payload)
            await eventually(lambda: follower.registry.revision == 0, "passed over")
            assert follower.registry.keys() == ()
            awaited = asyncio.create_task(follower.version(version().key, 0))
            await publish(kafka_settings, live_topics.schemas, fingerprint, text.encode())
            async with asyncio.timeout(20):
                assert await awaited == version()


async def test_a_registry_whose_topics_are_missing_is_said_to_be(
    kafka: str, tmp_path: Path
) -> None:
    settings = KafkaSettings(kafka=kafka, topic_prefix="nowhere.")
    with pytest.raises(Exception, match=r"nowhere\."):
        await register(settings, Candidate(version(), some_examples(1)))
