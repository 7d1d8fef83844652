"""Adapters that lie on S3 or behind HTTPS: registered by the command, fetched by workers."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from cli.main import main
from schemas.records import Query
from schemas.topics import Topics
from streams.kafka.settings import KafkaSettings
from tests.integration.worker.conftest import RunningWorker, Starter, eventually
from tests.servers.https import Answer, HttpsServer
from tests.servers.reachable import reachable_https, reachable_s3
from tests.servers.s3 import S3Server
from tests.unit.streams.registry.factories import metadata, write_adapter

KEY = "legal-qa-v1@1.2.0"
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with reachable_s3(monkeypatch) as server:
        yield server


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    with reachable_https(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def start(start_worker: Starter, tmp_path: Path) -> "Start":
    """Starts a worker that may fetch from there, and keeps what it fetches in ``store``."""

    def started(source: str, idle_seconds: str = "30") -> RunningWorker:
        return start_worker(
            LORELAY_ADAPTER_SOURCES=source,
            LORELAY_ADAPTER_STORE=str(tmp_path / "store"),
            LORELAY_ADAPTER_IDLE_SECONDS=idle_seconds,
            LORELAY_SERVED_MODEL_NAME="demo-base",
            LORELAY_MODEL_VERSION="1.0",
        )

    return started


@pytest.fixture
def register_uri(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[RunningWorker, str, str], int]:
    """`lorelay adapters register URI`."""

    def registered(worker: RunningWorker, uri: str, source: str) -> int:
        monkeypatch.setenv("LORELAY_KAFKA", kafka)
        monkeypatch.setenv("LORELAY_TOPIC_PREFIX", worker.topics.prefix)
        monkeypatch.setenv("LORELAY_ADAPTER_SOURCES", source)
        with pytest.raises(SystemExit) as left:
            main(["adapters", "register", uri])
        return int(left.value.code or 0)

    return registered


@pytest.fixture
def register(register_uri: "Register", tmp_path: Path) -> "Register":
    """The same with a metadata file that says where the rest lies."""

    def registered(worker: RunningWorker, uri: str, source: str) -> int:
        file = tmp_path / "elsewhere.json"
        file.write_text(json.dumps(metadata(vllm={"adapter_path": uri})))
        return register_uri(worker, str(file), source)

    return registered


Register = Callable[[RunningWorker, str, str], int]


class Start(Protocol):
    """Starts a worker."""

    def __call__(self, source: str, idle_seconds: str = ...) -> RunningWorker:
        """``source``: from where it may fetch; ``idle_seconds``: how long that may be silent."""
        ...


def metric(worker: RunningWorker, name: str, **labels: str) -> float:
    (member,) = worker.fleet.of_role("worker")
    return worker.fleet.metric(member.name, name, **labels) or 0.0


@pytest.fixture(params=["register", "register_uri"])
def register_either_way(request: pytest.FixtureRequest) -> Register:
    found: Register = request.getfixturevalue(request.param)
    return found


def test_an_adapter_on_s3_is_registered_and_served(
    start: Start, register_either_way: Register, s3: S3Server, tmp_path: Path
) -> None:
    uri = s3.put(write_adapter(tmp_path / "source"), "lora/legal")
    source = f"s3://{s3.bucket}/lora"
    worker = start(source)
    assert register_either_way(worker, uri, source) == 0
    shutil.rmtree(tmp_path / "source")
    first = worker.response(worker.request(Query(prompt="Wie lange?"), adapter=KEY))
    assert (first.error, first.adapter) == (None, KEY)
    (kept,) = (tmp_path / "store" / "adapters").iterdir()
    size = sum(file.stat().st_size for file in kept.iterdir())
    eventually(
        lambda: metric(worker, "lorelay_worker_adapter_store_bytes") == size or None, "the bytes"
    )
    assert metric(worker, "lorelay_worker_cold_requests_total", adapter=KEY) <= 1
    assert metric(worker, "lorelay_worker_adapter_load_seconds_count", outcome="ok") == 1
    assert metric(worker, "lorelay_worker_adapter_fetch_seconds_count", outcome="ok") == 1
    assert metric(worker, "lorelay_worker_adapter_fetched_bytes_total") == size


def test_a_silent_server_holds_up_nobody_elses_requests(
    start: Start, register: Register, https: HttpsServer, tmp_path: Path
) -> None:
    uri = https.put(write_adapter(tmp_path / "source"), "legal")
    worker = start(https.uri, idle_seconds="1")
    assert register(worker, uri, https.uri) == 0
    path = f"/legal/{WEIGHTS}"
    whole = https.files[path]
    https.files[path] = replace(whole, sent=100, hangs=True)
    waiting = [worker.request(Query(prompt="x"), adapter=KEY) for _ in range(100)]
    others = worker.request(Query(prompt="y"))
    assert worker.response(others).status == "ok"
    assert not {r.origin for r in worker.responses()} & set(waiting)
    https.files[path] = whole
    answers = eventually(
        lambda: found if len(found := worker.responses()) == 101 else None, "all responses"
    )
    assert {answer.adapter for answer in answers if answer.origin in waiting} == {KEY}


def test_a_worker_fetches_nothing_from_elsewhere_than_it_was_told(
    start: Start, register: Register, https: HttpsServer, tmp_path: Path
) -> None:
    uri = https.put(write_adapter(tmp_path / "source"), "legal")
    worker = start(f"{https.uri}/other")
    assert register(worker, uri, https.uri) == 0
    asked = len(https.asked)
    error = worker.response(worker.request(Query(prompt="x"), adapter=KEY)).error
    assert error is not None and "outside LORELAY_ADAPTER_SOURCES" in error.message
    assert len(https.asked) == asked


def test_what_can_not_be_fetched_is_not_registered(
    start: Start,
    register: Register,
    https: HttpsServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = https.put(write_adapter(tmp_path / "source"), "legal")
    worker = start(https.uri)
    https.files[f"/legal/{WEIGHTS}"] = Answer(status=404)
    assert register(worker, uri, https.uri) == 1
    assert f"{WEIGHTS} is not there" in capsys.readouterr().err.replace("\n", "")
    assert register(worker, uri, "s3://models") == 1
    assert "LORELAY_ADAPTER_SOURCES" in capsys.readouterr().err


def test_a_uri_that_can_not_be_registered_is_refused_in_a_sentence(
    start: Start,
    register_uri: Register,
    https: HttpsServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = https.put(write_adapter(tmp_path / "source"), "legal")
    worker = start(https.uri)
    assert register_uri(worker, uri, "") == 1
    refusal = capsys.readouterr().err
    assert f"LORELAY_ADAPTER_SOURCES={https.uri}" in refusal.replace("\n", "")
    assert register_uri(worker, f"{https.uri}/nothing", https.uri) == 1
    refusal += capsys.readouterr().err
    assert f"{https.uri}/nothing/metadata.json is not there" in refusal.replace("\n", "")
    assert "Traceback" not in refusal
    assert register_uri(worker, uri, https.uri) == 0


def test_ctrl_c_ends_a_download_at_once(
    kafka_settings: KafkaSettings, live_topics: Topics, https: HttpsServer, tmp_path: Path
) -> None:
    uri = https.put(write_adapter(tmp_path / "source"), "legal")
    https.files[f"/legal/{WEIGHTS}"] = Answer(b"0" * 1000, sent=100, hangs=True)
    command = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "adapters", "register", uri],
        env=os.environ
        | {
            "LORELAY_KAFKA": kafka_settings.kafka,
            "LORELAY_TOPIC_PREFIX": live_topics.prefix,
            "LORELAY_ADAPTER_SOURCES": https.uri,
            "LORELAY_ADAPTER_IDLE_SECONDS": "100000",
            "LORELAY_ADAPTER_FETCH_SECONDS": "100000",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    https.until_asked(f"/legal/{WEIGHTS}")
    command.send_signal(signal.SIGINT)
    _, complaint = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "Traceback" not in complaint
