"""The stack's life with a real broker; stand-ins take the other processes' places."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from cli.stack.folder import StackFolder, StackRecord
from cli.stack.plan import ENGINE, Wishes
from cli.stack.processes import Outcome
from cli.stack.readiness import EndedEarly, NotYet, Ready
from cli.stack.stack import Cluster, LocalStack
from schemas.errors import ConfigurationError

STAND_IN = Path(__file__).with_name("stand_in.py")
ECHO = {ENGINE: "echo"}


class Heard:
    """A report that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.outcomes: dict[str, Outcome] = {}

    def state(self, name: str, state: Ready | NotYet) -> None:
        """Not of interest here."""

    def stopping(self, name: str) -> None:
        """Not of interest here."""

    def stopped(self, name: str, outcome: Outcome) -> None:
        self.outcomes[name] = outcome

    def note(self, text: str) -> None:
        self.notes.append(text)


class Stack:
    """A local stack of a test's own folder."""

    def __init__(self, folder: StackFolder) -> None:
        self.folder = folder

    def up(self, cluster: Cluster | None = None, wishes: Wishes | None = None) -> StackRecord:
        self.heard = Heard()
        return self._stack(self.heard).up(
            cluster or Cluster(port=0), wishes or Wishes(worker=ECHO), timeout=120.0
        )

    def down(self) -> bool:
        self.heard = Heard()
        return self._stack(self.heard).down()

    def ready(self) -> dict[str, bool]:
        return {found.name: found.ready for found in self._stack(Heard()).status()}

    def pid(self, name: str) -> int:
        return int(self.folder.pid_file(name).read_text())

    def kill(self, name: str) -> None:
        """SIGKILL the process that the pid file names, and wait until it is seen as dead."""
        os.kill(self.pid(name), signal.SIGKILL)
        while self.ready()[name]:
            pass

    def _stack(self, heard: Heard) -> LocalStack:
        def stand_in(kind: str) -> Sequence[str]:
            return [sys.executable, str(STAND_IN), kind]

        return LocalStack(self.folder, os.environ, heard, stand_in)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(StackFolder(tmp_path / ".lorelay"))
    yield made
    made.down()


def test_up_starts_all_and_down_stops_all(stack: Stack) -> None:
    record = stack.up(wishes=Wishes(workers=2, worker=ECHO))
    ours = ("router", "worker", "worker-2", "gateway")
    assert stack.ready() == dict.fromkeys(("kafka", *ours), True)
    for name in ours:
        assert httpx.get(f"{record.processes[name].metrics}/ready").status_code == 200
    assert stack.down()
    assert set(stack.heard.outcomes.values()) == {Outcome.ENDED}
    assert list(stack.heard.outcomes) == ["gateway", "worker", "worker-2", "router", "kafka"]
    assert stack.ready() == {}
    assert not stack.down()


def test_the_gateways_addresses_are_in_the_stack_s_file(stack: Stack) -> None:
    record = stack.up(wishes=Wishes(worker=ECHO, gateways=2))
    content = json.loads(stack.folder.stack_file.read_text())
    assert content["gateway"] == content["processes"]["gateway"]["serves"] == record.gateway
    for name in ("gateway", "gateway-2"):
        address = content["processes"][name]["serves"]
        assert httpx.get(address).status_code == 200


def test_up_again_leaves_alone_what_runs(stack: Stack) -> None:
    first = stack.up()
    assert stack.up() == first


def test_up_again_starts_only_what_was_killed_as_it_was(stack: Stack) -> None:
    first = stack.up(wishes=Wishes(workers=2, worker=ECHO))
    stack.kill("worker-2")
    second = stack.up(wishes=Wishes())
    assert any("worker-2 is not running any more" in note for note in stack.heard.notes)
    assert second.processes["worker-2"].pid == stack.pid("worker-2")
    assert second.processes["worker-2"].settings == ECHO
    unchanged = ("kafka", "router", "worker")
    assert [second.processes[n] for n in unchanged] == [first.processes[n] for n in unchanged]


def test_a_killed_broker_comes_back_at_the_port_that_the_others_know(stack: Stack) -> None:
    first = stack.up()
    stack.kill("kafka")
    second = stack.up()
    assert second.kafka == first.kafka
    assert second.processes["worker"] == first.processes["worker"]
    assert stack.ready()["kafka"]


def test_a_cluster_that_is_there_is_used_and_left_running(stack: Stack, kafka: str) -> None:
    record = stack.up(Cluster(address=kafka))
    assert record.kafka == kafka
    assert set(record.processes) == {"router", "worker", "gateway"}
    # As the clients do, `up` then goes on with the cluster that stack.json names.
    assert stack.up(Cluster()) == record
    stack.down()
    with socket.create_connection(tuple(kafka.split(":"))):  # type: ignore[arg-type]
        pass


def test_a_running_stack_is_not_moved_to_another_cluster(stack: Stack, kafka: str) -> None:
    stack.up(Cluster(address=kafka))
    with pytest.raises(ConfigurationError, match="`lorelay down` first"):
        stack.up(Cluster(address="127.0.0.1:1"))


def test_a_cluster_that_does_not_answer_is_a_plain_message(stack: Stack) -> None:
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:1"):
        stack.up(Cluster(address="127.0.0.1:1"))


def test_a_process_that_fails_is_named_and_its_last_word_is_in_its_log(
    stack: Stack, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORELAY_STAND_IN", "fail")
    # Both fail; it is the first of them that is told.
    with pytest.raises(EndedEarly, match=r"(router|worker|gateway) ended") as told:
        stack.up(Cluster(address=kafka))
    assert "no encoder of that name" in stack.folder.log_file(told.value.name).read_text()


def test_a_vllm_worker_without_a_model_is_refused_before_anything_starts(stack: Stack) -> None:
    with pytest.raises(ConfigurationError, match="make models"):
        stack.up(wishes=Wishes())
    assert stack.ready() == {}
