import socket
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cli.stack.readiness import (
    EndedEarly,
    NotReadyInTime,
    NotYet,
    Probe,
    Ready,
    broker_probe,
    metrics_probe,
    wait_until_ready,
)


class Answer(BaseHTTPRequestHandler):
    """Answers /ready with the server's own status and text."""

    status = 503
    text = "loading the model\n"

    def do_GET(self) -> None:
        self.send_response(type(self).status if self.path == "/ready" else 404)
        self.end_headers()
        self.wfile.write(type(self).text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def metrics_port(tmp_path: Path) -> Iterator[type[Answer]]:
    """A process's metrics port; its address is in `address`."""

    class Own(Answer):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "address").write_text(f"127.0.0.1:{server.server_port}\n")
    yield Own
    server.shutdown()
    thread.join()
    server.server_close()


def answering(*states: Ready | NotYet) -> Probe:
    """A probe that gives one state after the other, and the last one for ever."""
    remaining: list[Ready | NotYet] = list(states)
    return lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0]


def test_a_process_without_an_address_is_starting(tmp_path: Path) -> None:
    assert metrics_probe(tmp_path / "address")() == NotYet("starting")


def test_a_process_says_what_it_waits_for(tmp_path: Path, metrics_port: type[Answer]) -> None:
    state = metrics_probe(tmp_path / "address")()
    assert isinstance(state, NotYet)
    assert state.reason == "loading the model"
    assert state.metrics is not None


def test_a_process_is_ready_at_its_metrics_address(
    tmp_path: Path, metrics_port: type[Answer]
) -> None:
    metrics_port.status = 200
    address = (tmp_path / "address").read_text().strip()
    assert metrics_probe(tmp_path / "address")() == Ready(f"http://{address}")


def test_a_process_too_busy_to_answer_waits_for_what_it_last_said(
    tmp_path: Path, metrics_port: type[Answer]
) -> None:
    probe = metrics_probe(tmp_path / "address")
    said = probe()
    (tmp_path / "address").write_text("127.0.0.1:1\n")
    now = probe()
    assert isinstance(said, NotYet)
    assert isinstance(now, NotYet)
    assert now.reason == said.reason


def test_an_address_where_nobody_answers_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "address").write_text("127.0.0.1:1\n")
    assert isinstance(metrics_probe(tmp_path / "address")(), NotYet)


def test_a_broker_is_ready_once_it_listens() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert isinstance(broker_probe(address)(), NotYet)
        server.listen()
        assert broker_probe(address)() == Ready()


def test_waiting_ends_when_all_are_ready_and_reports_every_answer() -> None:
    heard: list[tuple[str, Ready | NotYet]] = []
    probes = {"router": answering(Ready()), "worker": answering(NotYet("loading"), Ready())}
    wait_until_ready(probes, lambda _: True, 30.0, lambda name, state: heard.append((name, state)))
    assert heard == [("router", Ready()), ("worker", NotYet("loading")), ("worker", Ready())]


def test_a_process_that_ends_is_named_at_once() -> None:
    with pytest.raises(EndedEarly, match="worker ended") as caught:
        wait_until_ready(
            {"router": answering(Ready()), "worker": answering(NotYet("starting"))},
            lambda name: name != "worker",
            timeout=600.0,
        )
    assert caught.value.name == "worker"


@pytest.mark.parametrize("states", [(NotYet("loading"),)])
def test_a_process_that_takes_too_long_is_named_with_what_it_waits_for(
    states: Sequence[NotYet],
) -> None:
    with pytest.raises(NotReadyInTime, match="loading"):
        wait_until_ready({"worker": answering(*states)}, lambda _: True, timeout=0.0)
