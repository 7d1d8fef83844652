"""The `lorelay` command as a user calls it: its own process, and all real ones of ours."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from schemas.topics import Topics


class Lorelay:
    """Calls the command in a folder of the test's own."""

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir
        self.environment = os.environ | {"LORELAY_GATEWAY_PORT": "0"}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=self.workdir,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def status(self) -> dict[str, dict[str, object]]:
        found = json.loads(self("status", "--json").stdout)["processes"]
        return {process["name"]: process for process in found}


@pytest.fixture
def lorelay(tmp_path: Path) -> Iterator[Lorelay]:
    command = Lorelay(tmp_path)
    yield command
    done = command("down")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def on_the_cluster(lorelay: Lorelay, kafka: str, topics: Topics) -> Lorelay:
    """The command, told to use the tests' broker and topics of its own."""
    lorelay.environment |= {"LORELAY_KAFKA": kafka, "LORELAY_TOPIC_PREFIX": topics.prefix}
    return lorelay


def test_up_status_logs_kill_up_and_down(on_the_cluster: Lorelay) -> None:
    lorelay = on_the_cluster
    up = lorelay("up", "--engine", "echo")
    assert up.returncode == 0, up.stderr + up.stdout
    before = lorelay.status()
    assert {name: process["ready"] for name, process in before.items()} == {
        "router": True,
        "worker": True,
        "gateway": True,
    }
    assert "lorelay_" in httpx.get(f"{before['worker']['metrics']}/metrics").text
    assert httpx.get(f"{before['gateway']['serves']}/ready").status_code == 200
    assert lorelay("logs", "router", "-n", "5").stdout.count("\n") == 5

    os.kill(int((lorelay.workdir / ".lorelay/run/worker.pid").read_text()), signal.SIGKILL)
    assert lorelay("status").returncode == 1

    assert lorelay("up").returncode == 0
    after = lorelay.status()
    assert after["router"] == before["router"]
    assert after["worker"]["ready"]
    assert after["worker"]["pid"] != before["worker"]["pid"]

    assert lorelay("down").returncode == 0
    assert "Nothing runs" in lorelay("status").stdout


def test_a_process_that_fails_is_shown_with_the_end_of_its_log(on_the_cluster: Lorelay) -> None:
    on_the_cluster.environment["LORELAY_ROUTER_BATCH"] = "many"
    up = on_the_cluster("up", "--engine", "echo", "--workers", "0")
    assert up.returncode == 1
    assert "LORELAY_ROUTER_BATCH='many'" in up.stderr
    assert "router.log" in up.stderr
    assert up.stderr.endswith("lorelay: router ended before it was ready.\n")


def test_a_missing_java_is_one_plain_sentence(lorelay: Lorelay) -> None:
    lorelay.environment |= {"PATH": str(lorelay.workdir), "JAVA_HOME": ""}
    up = lorelay("up", "--engine", "echo")
    assert up.returncode == 2
    assert up.stderr.startswith("lorelay: The local broker needs Java 17 or newer")
    assert up.stderr.count("\n") == 1


def test_a_taken_port_is_one_plain_sentence(lorelay: Lorelay) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        up = lorelay("up", "--engine", "echo", "--kafka-port", str(port))
    assert up.returncode == 2
    assert up.stderr.startswith(f"lorelay: Port {port} is taken by another program")
    assert up.stderr.count("\n") == 1


def test_a_model_that_is_not_there_is_one_plain_sentence(lorelay: Lorelay) -> None:
    up = lorelay("up", "--model", "./nowhere")
    assert (up.returncode, up.stderr) == (2, "lorelay: There is no model folder ./nowhere.\n")


def test_down_where_nothing_was_started_says_so(lorelay: Lorelay) -> None:
    assert lorelay("down").stdout == "Nothing was started in this folder.\n"
