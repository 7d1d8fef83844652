"""The metrics agent on a real broker: what it counts when it isn't the only one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import CollectorRegistry

from schemas.codec import Codec
from schemas.records import AdapterMetrics, Origin, Response, Routing
from schemas.topics import Topics
from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.kafka.transactions import PartitionTransactions
from streams.kafka.window import Committed
from streams.kafka.writer_schemas import WriterSchemas
from streams.router.figures import MetricsAgent
from streams.router.settings import RouterSettings
from streams.telemetry.metrics import RouterMetrics
from streams.telemetry.tally import Tally
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.members import eventually, give_up

LEGAL = "legal-qa-v1@1.0.0"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def answered(number: int) -> Response:
    return Response(
        query_id=f"q{number}",
        status="ok",
        adapter=LEGAL,
        routing=Routing(adapter=LEGAL),
        origin=Origin("queries", 0, number),
        created_at=NOON,
    )


@dataclass
class Counting:
    """An agent at work, its clock, and its topics from outside."""

    settings: RouterSettings
    cluster: Cluster
    codec: Codec = field(default_factory=Codec)
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.agent = MetricsAgent(
            self.settings,
            self.codec,
            WriterSchemas(self.settings, self.codec),
            RouterMetrics(CollectorRegistry()),
            now=lambda: self.now,
        )

    def answer(self, count: int) -> None:
        values: list[bytes | None] = [self.codec.encode(answered(n)) for n in range(count)]
        self.cluster.produce(self.settings.topics.responses, values, partition=0)

    def counted(self) -> int:
        messages = self.cluster.read(self.settings.topics.metrics)
        records = [self.codec.decode(AdapterMetrics, m.value() or b"") for m in messages]
        return sum(record.num_requests for record in records)

    def committed(self) -> int | None:
        group = f"{self.settings.router_group}-metrics"
        return self.cluster.committed(group, self.settings.topics.responses)

    async def count_elsewhere(self, count: int) -> None:
        """Another member takes the partition over, and counts the first responses."""
        tally = Tally()
        for number in range(count):
            tally.add(answered(number))
        record = tally.record(LEGAL, 0, NOON, NOON + timedelta(seconds=10))
        topics = self.settings.topics
        other = PartitionTransactions(
            self.settings,
            f"{self.settings.router_group}-metrics",
            TopicPartition(topics.responses, 0),
            SizeLimits(self.settings.max_record_bytes),
        )
        admin = AIOKafkaAdminClient(**self.settings.client_kwargs())
        await admin.start()
        await other.initialise(admin)
        await admin.close()
        await other.commit([Output(topics.metrics, self.codec.encode(record))], Committed(count))
        await other.close()

    async def lose_and_regain(self) -> None:
        consumer = self.agent._consumer
        await give_up(consumer)
        await eventually(lambda: consumer.spans() and not consumer.not_ready, "assigned again")


@asynccontextmanager
async def counting(settings: RouterSettings, cluster: Cluster) -> AsyncIterator[Counting]:
    found = Counting(settings, cluster)
    running = asyncio.create_task(found.agent.run())
    try:
        await eventually(
            lambda: running.done() or found.agent._consumer.not_ready is None, "agent ready"
        )
        yield found
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("has_regained", [False, True])
async def test_what_another_member_has_counted_meanwhile_is_not_counted_again(
    kafka: str, live_topics: Topics, has_regained: bool
) -> None:
    settings = RouterSettings(
        kafka=kafka,
        topic_prefix=live_topics.prefix,
        router_group=f"{live_topics.prefix}router",
        session_timeout=6.0,
    )
    async with counting(settings, Cluster(kafka)) as found:
        found.answer(4)
        consumer = found.agent._consumer
        await eventually(lambda: consumer.in_flight == 4, "four responses in an open window")
        await found.count_elsewhere(2)
        if has_regained:
            await found.lose_and_regain()

        found.now = NOON + timedelta(minutes=1)
        await eventually(lambda: found.committed() == 4, "all responses counted")
    assert found.counted() == 4
