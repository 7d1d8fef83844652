"""Queries that are read while partitions change hands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiokafka.consumer.subscription_state import SubscriptionState

from streams.kafka.limits import SizeLimits
from streams.kafka.output import Output
from streams.router.agent import add_routing_agent
from streams.router.batching import Arrival, MicroBatcher
from streams.router.faust_app import RouterApp, make_app
from streams.router.partitions import OwnedPartitions
from streams.router.settings import RouterSettings
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.foreign_records import produce_with_header
from tests.integration.kafka.members import eventually

Seek = Callable[[], Awaitable[Any]]

_QUERIES = 50
#: Longer than the second after which Faust looks again for partitions to read.
_SLOW_SECONDS = 1.5


class Router:
    """A router's partitions, with work that only notes what it was given."""

    def __init__(self, settings: RouterSettings, topic: str) -> None:
        self.app: RouterApp = make_app(settings)
        self.partitions = OwnedPartitions(
            self.app,
            settings,
            topic,
            SizeLimits(settings.max_record_bytes),
            lambda records, seconds, outcome: None,
            lambda topic, records: None,
        )
        self.batcher = MicroBatcher(self.partitions, self._work, max_batch=16, max_pending=256)
        add_routing_agent(self.app, topic, self.batcher)
        self.offsets: list[int] = []
        self.may_finish = asyncio.Event()
        consumer: Any = self.app.consumer
        self._seek: Seek = consumer._thread.seek_to_committed

    async def _work(self, arrivals: Sequence[Arrival]) -> Sequence[Sequence[Output]]:
        await self.may_finish.wait()
        self.offsets += [arrival.message.offset for arrival in arrivals]
        return [()] * len(arrivals)

    def on_seek(self, act: Callable[[Seek], Awaitable[Any]]) -> None:
        """What to do whenever it goes to where its group is."""
        thread: Any = self.app.consumer
        thread._thread.seek_to_committed = lambda: act(self._seek)


@pytest.fixture
def topic(kafka: str) -> str:
    return Cluster(kafka).create("queries")


@asynccontextmanager
async def running(kafka: str, topic: str) -> AsyncIterator[Router]:
    """One more member of the topic's group, from its first assignment on."""
    router = Router(RouterSettings(kafka=kafka, router_group=f"{topic}-routers"), topic)
    batches = asyncio.create_task(router.batcher.run())
    await router.app.start()
    try:
        await eventually(lambda: router.partitions.not_ready is None, "partitions assigned")
        yield router
    finally:
        await router.partitions.close()
        batches.cancel()
        with suppress(asyncio.CancelledError):
            await batches
        await router.app.stop()


async def owner_and_spare(first: Router, second: Router) -> tuple[Router, Router]:
    """Who has the topic's one partition, and who has none."""
    parts = first.partitions, second.partitions
    await eventually(lambda: parts[0].has_first != parts[1].has_first, "it is one's")
    return (first, second) if parts[0].has_first else (second, first)


def late(cluster: Cluster, topic: str) -> Callable[[Seek], Awaitable[Any]]:
    """Seeks when Faust has had time to read, and one more query has come."""

    async def seek_late(seek: Seek) -> Any:
        cluster.produce(topic, [b"later"])
        await asyncio.sleep(_SLOW_SECONDS)
        return await seek()

    return seek_late


def linger(router: Router) -> None:
    """Gives Faust time to read between the call that names its partitions and their pause."""
    app: Any = router.app

    async def wait() -> None:
        await asyncio.sleep(_SLOW_SECONDS)

    app.topics.maybe_wait_for_subscriptions = wait


async def test_a_router_that_had_no_partition_loses_nothing_of_the_one_it_gets(
    kafka: str, topic: str
) -> None:
    cluster = Cluster(kafka)

    async with running(kafka, topic) as first, running(kafka, topic) as second:
        owner, spare = await owner_and_spare(first, second)
        linger(spare)
        spare.on_seek(late(cluster, topic))
        spare.may_finish.set()
        cluster.produce(topic, [b"x"] * _QUERIES)
        await owner.app.stop()
        await eventually(lambda: _QUERIES in spare.offsets, "the last query")
        assert sorted(spare.offsets)[: _QUERIES + 1] == list(range(_QUERIES + 1))


async def test_a_takeover_that_the_next_rebalance_overtakes_loses_nothing(
    kafka: str, topic: str
) -> None:
    cluster = Cluster(kafka)
    async with running(kafka, topic) as router:
        signals: Any = router.app
        is_overtaken = asyncio.Event()
        takeovers = 0

        async def taken_over(app: Any, **_: Any) -> None:
            nonlocal takeovers
            takeovers += 1
            if takeovers == 1:
                cluster.produce(topic, [b"x"] * _QUERIES)
                linger(router)
                signals.on_partitions_revoked.connect(revoked, weak=False)
                router.app.request_rejoin()
                await is_overtaken.wait()
            else:
                cluster.produce(topic, [b"later"])

        async def revoked(app: Any, *_: Any, **__: Any) -> None:
            is_overtaken.set()

        async def seek_late(seek: Seek) -> Any:
            if takeovers > 1:
                await asyncio.sleep(_SLOW_SECONDS)
            return await seek()

        signals.on_rebalance_complete.connect(taken_over, weak=False)
        router.on_seek(seek_late)
        router.may_finish.set()
        router.app.request_rejoin()
        await eventually(lambda: _QUERIES in router.offsets, "the last query")
        assert sorted(router.offsets)[: _QUERIES + 1] == list(range(_QUERIES + 1))


async def test_a_takeover_of_nothing_that_the_next_rebalance_overtakes_loses_nothing(
    kafka: str, topic: str
) -> None:
    cluster = Cluster(kafka)
    async with running(kafka, topic) as first, running(kafka, topic) as second:
        owner, spare = await owner_and_spare(first, second)
        signals: Any = spare.app
        is_overtaken = asyncio.Event()
        leaving: list[asyncio.Task[None]] = []
        flows: list[bool] = []

        async def taken_over(app: Any, **_: Any) -> None:
            if not leaving:
                assert not app.consumer.assignment()
                cluster.produce(topic, [b"x"] * _QUERIES)
                linger(spare)
                signals.on_partitions_revoked.connect(revoked, weak=False)
                # The owner leaves while this router takes over nothing.
                leaving.append(asyncio.create_task(owner.app.stop()))
                await is_overtaken.wait()

        async def revoked(app: Any, *_: Any, **__: Any) -> None:
            is_overtaken.set()
            # In truth the next assignment takes some round trips to the broker.
            await asyncio.sleep(0.05)
            flows.append(app.consumer.flow_active)

        signals.on_rebalance_complete.connect(taken_over, weak=False)
        spare.on_seek(late(cluster, topic))
        spare.may_finish.set()
        spare.app.request_rejoin()
        await eventually(lambda: _QUERIES in spare.offsets or spare.app.crashed, "the last query")
        await asyncio.gather(*leaving)
        assert not spare.app.crashed
        assert sorted(spare.offsets)[: _QUERIES + 1] == list(range(_QUERIES + 1))
        assert flows == [False]


async def test_a_spare_router_takes_over_however_long_it_had_nothing_to_do(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(kafka)
    async with running(kafka, topic) as first, running(kafka, topic) as second:
        owner, spare = await owner_and_spare(first, second)
        spare.may_finish.set()
        monkeypatch.setattr(SubscriptionState, "fetcher_idle_time", 30 * 86_400.0)
        await owner.app.stop()
        cluster.produce(topic, [b"x"])
        await eventually(lambda: spare.offsets, "the query")


async def test_a_header_whose_name_is_no_text_stops_no_router(kafka: str, topic: str) -> None:
    async with running(kafka, topic) as router:
        router.may_finish.set()
        await produce_with_header(kafka, topic, b"x", "größe".encode("latin-1"))
        Cluster(kafka).produce(topic, [b"x"])
        await eventually(lambda: len(router.offsets) == 2 or router.app.crashed, "both queries")
        assert router.offsets == [0, 1]
