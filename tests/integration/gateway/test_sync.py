"""`lorelay adapters sync` against our own gateway, and against an HTTP server of its own kind."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.fleet import ROOT
from tests.chaos.preloaded import PreloadedCommand, PreloadedProcess
from tests.integration.gateway.system import LEGAL, MEDICAL, RunningSystem, eventually
from tests.unit.streams.registry.factories import write_weights

TOKEN = "a-token-of-the-tests"
_SECONDS = 60.0


class OtherSide:
    """A ThemisDB's routes over a dictionary, which takes figures, too."""

    def __init__(self) -> None:
        self.metadata: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        other = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers["authorization"] != f"Bearer {TOKEN}":
                    self._answer(401, {})
                elif self.path == "/api/adapters/registry":
                    entries = [
                        {name: m.get(name) for name in ("adapter_id", "adapter_version", "status")}
                        for m in other.metadata.values()
                    ]
                    self._answer(200, {"adapters": entries, "total": len(entries)})
                elif found := other.metadata.get(self.path.split("/")[3]):
                    self._answer(200, found)
                else:
                    self._answer(404, {})

            def do_POST(self) -> None:
                other.rows.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self._answer(201, {})

            def _answer(self, status: int, content: Any) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def has(self, adapter_id: str, folder: Path | None, **changes: Any) -> None:
        self.metadata[adapter_id] = {
            "adapter_id": adapter_id,
            "adapter_version": "1.0.0",
            "base_model_name": "echo",
            "domain": adapter_id.partition("-")[0],
            "task_type": "question-answering",
            "status": "active",
            "adapter_path": None if folder is None else str(folder),
            **changes,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def other() -> Iterator[OtherSide]:
    side = OtherSide()
    yield side
    side.close()


def variables(system: RunningSystem, token: str = TOKEN) -> dict[str, str]:
    """Of a command that tells the other side that token."""
    return system.fleet.environment | {"LORELAY_THEMISDB_TOKEN": token}


def sync(
    system: RunningSystem, url: str, *options: str, token: str = TOKEN
) -> "tuple[int, dict[str, Any], str]":
    """The exit status, what came of each version, and what was said besides."""
    command = ["adapters", "sync", url, "--json", *options]
    done = PreloadedCommand(command, variables(system, token), ROOT).completed(_SECONDS)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {line["adapter"]: line for line in lines}, done.stderr


def test_with_itself_a_registry_is_in_step(system: RunningSystem) -> None:
    status, found, told = sync(system, system.url())
    assert status == 0, told
    assert found[f"{LEGAL}@1.0.0"]["outcome"] == "same"
    assert found[f"{MEDICAL}@1.0.0"]["outcome"] == "same"


def test_what_only_the_other_side_has_is_registered_and_the_rest_left_as_it_is(
    system: RunningSystem, other: OtherSide, tmp_path: Path
) -> None:
    write_weights(tmp_path)
    other.has("tax-qa-v1", tmp_path)
    other.has("tax-law-v1", None)
    other.has(LEGAL, tmp_path, lora_rank=16, status="retired")
    dry = sync(system, other.url, "--dry-run")
    assert dry[1]["tax-qa-v1@1.0.0"]["outcome"] == "new"
    status, found, _ = sync(system, other.url)
    assert status == 1
    assert found["tax-qa-v1@1.0.0"]["outcome"] == "registered"
    assert found["tax-law-v1@1.0.0"]["outcome"] == "refused"
    assert found[f"{LEGAL}@1.0.0"]["outcome"] == "conflict"
    assert found[f"{LEGAL}@1.0.0"]["notes"] == [
        "training.lora_rank: there 16, here 4",
        "status: there 'retired', here 'active'",
    ]
    assert found[f"{MEDICAL}@1.0.0"]["outcome"] == "only here"
    with system.openai() as client:
        answer = client.completions.create(model="tax-qa", prompt="x")
    assert answer.model == "tax-qa-v1@1.0.0"
    del other.metadata[LEGAL], other.metadata["tax-law-v1"]
    assert sync(system, other.url)[0] == 0


def test_our_figures_are_handed_over(system: RunningSystem, other: OtherSide) -> None:
    with system.openai() as client, system.http() as http:
        client.completions.create(model=MEDICAL, prompt="x")
        eventually(
            lambda: http.get(f"/api/adapters/{MEDICAL}/metrics").json()["num_requests"],
            "the figures",
        )
    status, _, told = sync(system, other.url, "--push-metrics")
    assert status == 0, told
    (row,) = [row for row in other.rows if row["adapter_id"] == MEDICAL]
    assert row["num_requests"] >= 1
    assert row["p95_latency_ms"] > 0
    assert set(row) == {
        "adapter_id",
        "timestamp",
        "num_requests",
        "avg_latency_ms",
        "p95_latency_ms",
        "error_rate",
        "throughput_qps",
    }


def test_who_watches_sees_what_comes_later(
    system: RunningSystem, other: OtherSide, tmp_path: Path
) -> None:
    write_weights(tmp_path / "w")
    (log := tmp_path / "log").touch()
    command = ["adapters", "sync", other.url, "--json", "--watch", "1"]
    watching = PreloadedProcess(command, variables(system), ROOT, log)
    try:
        eventually(lambda: "only here" in log.read_text(), "the first look")
        other.has("art-qa-v1", tmp_path / "w")
        eventually(lambda: '"registered"' in log.read_text(), "the second look")
        assert watching.poll() is None
    finally:
        watching.kill()
        watching.wait()


def test_a_side_that_does_not_answer_or_let_us_in_is_a_sentence(
    system: RunningSystem, other: OtherSide
) -> None:
    status, _, told = sync(system, other.url, token="wrong")
    assert status == 1 and "LORELAY_THEMISDB_TOKEN" in told
    status, _, told = sync(system, "http://127.0.0.1:9")
    assert status == 1 and "does not answer" in told
    status, _, told = sync(system, "nonsense")
    assert status == 1 and "does not answer" in told
