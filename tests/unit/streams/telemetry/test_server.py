"""The metrics port, asked over HTTP as Prometheus and the local stack ask it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import ConfigurationError
from streams.telemetry.server import ADDRESS_FILE_VARIABLE, MetricsServer

Extra = Callable[[], bytes | Awaitable[bytes]]


def is_ready() -> str | None:
    return None


def registry() -> CollectorRegistry:
    with_gauge = CollectorRegistry()
    Gauge("lorelay_answer", "The answer.", registry=with_gauge).set(42)
    return with_gauge


@asynccontextmanager
async def serving(
    ready: Callable[[], str | None] = is_ready, extra: Extra | None = None
) -> AsyncIterator[MetricsServer]:
    server = MetricsServer(registry(), ready, extra)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def get(server: MetricsServer, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{server.address}{path}") as response,
    ):
        return response.status, response.headers["Content-Type"], await response.text()


async def test_metrics_are_served_as_prometheus_text() -> None:
    async with serving() as server:
        status, content_type, text = await get(server, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=0.0.4")
    (family,) = text_string_to_metric_families(text)
    assert (family.name, family.samples[0].value) == ("lorelay_answer", 42)


async def test_a_scrape_after_another_sees_what_changed_between() -> None:
    values = iter([1.0, 2.0])
    changing = CollectorRegistry()
    Gauge("lorelay_next", "n", registry=changing).set_function(lambda: next(values))
    server = MetricsServer(changing, is_ready)
    await server.start()
    try:
        assert "lorelay_next 1.0" in (await get(server, "/metrics"))[2]
        assert "lorelay_next 2.0" in (await get(server, "/metrics"))[2]
    finally:
        await server.stop()


async def engine_metrics() -> bytes:
    return b"# TYPE lorelay_answer gauge\nlorelay_answer 0\n# TYPE vllm:x gauge\nvllm:x 7\n"


@pytest.mark.parametrize("extra", [engine_metrics, lambda: b"# TYPE vllm:x gauge\nvllm:x 7\n"])
async def test_the_engines_own_metrics_stand_beside_ours(extra: Extra) -> None:
    async with serving(extra=extra) as server:
        _, _, text = await get(server, "/metrics")
    assert [f.name for f in text_string_to_metric_families(text)] == ["lorelay_answer", "vllm:x"]
    assert "lorelay_answer 42.0" in text


async def dead_engine() -> bytes:
    raise ConnectionError("the engine is gone")


async def test_an_engine_that_can_not_tell_its_metrics_does_not_hide_ours() -> None:
    async with serving(extra=dead_engine) as server:
        status, _, text = await get(server, "/metrics")
    assert status == 200
    assert "lorelay_answer 42.0" in text


async def test_a_process_is_ready_once_nothing_is_missing() -> None:
    missing = ["the engine is still loading the model"]
    async with serving(ready=lambda: missing[0] if missing else None) as server:
        status, _, text = await get(server, "/ready")
        assert (status, text.strip()) == (503, "the engine is still loading the model")
        assert (await get(server, "/live"))[0] == 200
        missing.clear()
        status, _, text = await get(server, "/ready")
        assert (status, text.strip()) == (200, "ready")


async def test_the_address_is_left_where_the_starter_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address_file = tmp_path / "worker.address"
    monkeypatch.setenv(ADDRESS_FILE_VARIABLE, str(address_file))
    async with serving() as server:
        assert address_file.read_text().strip() == server.address
        assert server.address.startswith("127.0.0.1:")
    assert os.listdir(tmp_path) == ["worker.address"]  # no half-written one beside it


async def test_a_taken_port_is_named_with_the_setting_that_changes_it() -> None:
    async with serving() as first:
        port = int(first.address.rpartition(":")[2])
        second = MetricsServer(CollectorRegistry(), is_ready, port=port)
        with pytest.raises(ConfigurationError, match=rf"{port}.*LORELAY_METRICS_PORT"):
            await second.start()


async def test_a_host_of_another_machine_is_refused_in_words() -> None:
    server = MetricsServer(CollectorRegistry(), is_ready, host="192.0.2.1")
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        await server.start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b"])
async def test_a_host_that_nobody_knows_is_refused_in_words(host: str) -> None:
    server = MetricsServer(CollectorRegistry(), is_ready, host=host)
    with pytest.raises(ConfigurationError, match="LORELAY_METRICS_HOST"):
        await server.start()


async def test_an_address_that_can_not_be_left_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS_FILE_VARIABLE, str(tmp_path / "none" / "worker.address"))
    server = MetricsServer(CollectorRegistry(), is_ready)
    try:
        with pytest.raises(ConfigurationError, match="can't be left in"):
            await server.start()
    finally:
        await server.stop()


async def test_a_stopped_server_has_no_address_and_frees_its_port() -> None:
    async with serving() as server:
        port = int(server.address.rpartition(":")[2])
    with pytest.raises(RuntimeError):
        _ = server.address
    again = MetricsServer(registry(), is_ready, port=port)
    await again.start()
    await again.stop()


async def test_stopping_what_never_started_is_no_mistake() -> None:
    await MetricsServer(registry(), is_ready).stop()
