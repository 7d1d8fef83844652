"""GET /api/adapters/{adapter}/metrics, without Kafka."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
from fastapi import FastAPI

from schemas.codec import Codec
from schemas.records import AdapterMetrics
from streams.gateway.access.access import Access
from streams.gateway.figures import Figures
from streams.gateway.routes import figures
from streams.kafka.settings import KafkaSettings
from streams.registry.reader import Registry
from streams.telemetry.tally import Tally
from tests.unit.streams.registry.factories import version

ADAPTER = version("legal-qa-v1", "1.0.0")


class Records(list[AdapterMetrics]):
    """Notes who reads them."""

    readers: set[threading.Thread]

    def __iter__(self) -> Iterator[AdapterMetrics]:
        self.readers.add(threading.current_thread())
        return super().__iter__()


class WatchedFigures(Figures):
    def __init__(self) -> None:
        super().__init__(KafkaSettings(), Codec(), timedelta(minutes=10))
        self.readers: set[threading.Thread] = set()

    def of(self, name: str, length: timedelta) -> list[AdapterMetrics]:
        records = Records(super().of(name, length))
        records.readers = self.readers
        return records


async def test_sketches_are_merged_beside_the_event_loop() -> None:
    registry, kept, app = Registry(), WatchedFigures(), FastAPI()
    registry.apply_version(ADAPTER.key, ADAPTER, 0)
    tally, now = Tally(), datetime.now(UTC)
    tally.num_requests = 3
    window = tally.record(ADAPTER.key, 0, now - timedelta(seconds=10), now)
    kept.on_record("metrics", b"", Codec().encode(window), 0)
    app.state.gateway = SimpleNamespace(access=Access(None), registry=registry, figures=kept)
    app.include_router(figures.router)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway"
    ) as client:
        answer = await client.get("/api/adapters/legal-qa-v1/metrics")
    assert answer.json()["num_requests"] == 3
    assert kept.readers
    assert threading.main_thread() not in kept.readers
