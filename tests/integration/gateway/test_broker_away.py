"""A broker that stops and comes back while clients ask."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.broker import KillableBroker, killable_broker
from tests.integration.gateway.system import RunningSystem, eventually


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KillableBroker]:
    with killable_broker(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def system(broker: KillableBroker, tmp_path: Path) -> Iterator[RunningSystem]:
    running = RunningSystem(broker.address, tmp_path, {})
    try:
        running.start()
        yield running
    finally:
        running.fleet.close()


def test_while_the_broker_is_away_queries_are_refused_and_none_that_was_sent_is_lost(
    system: RunningSystem, broker: KillableBroker
) -> None:
    question = {"model": "base", "prompt": "x"}
    with system.http() as client, ThreadPoolExecutor() as threads:
        with system.nobody_answers():
            sent = threads.submit(client.post, "/v1/completions", json=question | {"id": "sent"})
            system.await_query("sent")
            broker.stop()
        eventually(lambda: client.get("/ready").is_error, "that it is not ready")
        assert "waiting for Kafka" in client.get("/ready").json()["waits_for"]
        refusal = client.post("/v1/completions", json=question)
        assert refusal.status_code == 503
        assert refusal.json()["error"]["code"] == "kafka_unavailable"
        broker.start()
        assert sent.result().json()["choices"][0]["text"] == "[base] x"
        eventually(lambda: client.get("/ready").is_success, "that it is ready")
        streamed = client.post("/v1/completions", json=question | {"stream": True})
        assert "[DONE]" in streamed.text
