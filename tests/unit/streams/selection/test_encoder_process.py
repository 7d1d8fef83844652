"""The default encoder in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest

from schemas.errors import ConfigurationError, InternalError
from streams.selection.encoder import SentenceEncoder
from streams.selection.encoder_process import EncoderProcess, serve

TEXTS = ["Wie lange dauert die Probezeit?", "", "\ud800 lone surrogate", "word " * 50_000]
_ROUTER = """
from streams.selection.encoder_process import EncoderProcess
encoder = EncoderProcess()
print(encoder.pid, flush=True)
while True:
    encoder.encode(["text"] * 1000)
"""


class Doomed(EncoderProcess):
    """Its process ends as soon as it is started, as long as ``is_doomed``."""

    is_doomed = False

    def _start(self) -> int:
        dimensions = super()._start()
        if self.is_doomed:
            os.kill(self.pid, signal.SIGKILL)
        return dimensions


@pytest.fixture(scope="module")
def encoder() -> Iterator[EncoderProcess]:
    made = EncoderProcess()
    yield made
    made.close()


def test_it_encodes_as_it_would_here(encoder: EncoderProcess, use: SentenceEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(use.encode(TEXTS), abs=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimensions) == (0, use.dimensions)


def test_threads_get_the_vectors_of_their_own_texts(encoder: EncoderProcess) -> None:
    texts = [f"text {number}" for number in range(64)]
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda text: encoder.encode([text])[0], texts))
    assert np.array(found) == pytest.approx(expected, abs=1e-5)


def test_what_a_terminal_or_a_service_sends_to_all_does_not_end_it(
    encoder: EncoderProcess,
) -> None:
    pid = encoder.pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert encoder.encode(["text"]).shape == (1, 512)
    assert encoder.pid == pid


def test_one_that_ends_is_started_anew(encoder: EncoderProcess) -> None:
    expected = encoder.encode(TEXTS)
    before = encoder.pid
    os.kill(before, signal.SIGKILL)
    assert encoder.encode(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert encoder.pid != before


def test_texts_of_which_it_ends_twice_are_an_error_and_the_next_ones_are_encoded() -> None:
    encoder = Doomed()
    os.kill(encoder.pid, signal.SIGKILL)
    encoder.is_doomed = True
    with pytest.raises(InternalError, match="2 texts"):
        encoder.encode(["one", "two"])
    encoder.is_doomed = False
    assert encoder.encode(["three"]).shape == (1, 512)
    encoder.close()


def test_an_encoder_that_is_not_there_is_said_and_leaves_no_process(tmp_path: Path) -> None:
    before = psutil.Process().children()
    with pytest.raises(ConfigurationError, match="no folder"):
        EncoderProcess(str(tmp_path / "nothing"))
    assert psutil.Process().children() == before


def test_one_that_can_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigurationError, match=r"ended with status 1 while it loaded 'use-multi"):
        EncoderProcess()


def test_one_that_nothing_can_be_started_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nothing/there")
    with pytest.raises(ConfigurationError, match="No process can be started"):
        EncoderProcess()


def test_it_ends_when_it_is_closed_and_is_not_started_anew() -> None:
    encoder = EncoderProcess()
    process = psutil.Process(encoder.pid)
    encoder.close()
    assert not process.is_running()
    with pytest.raises(InternalError, match="closed"):
        encoder.encode(["text"])
    assert encoder.pid == process.pid


def test_it_ends_with_a_process_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ROUTER], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([orphan], timeout=30)
    assert not orphan.is_running()


def test_what_fails_is_told_and_the_next_batch_is_encoded() -> None:
    ours, theirs = Pipe()
    serving = Thread(target=serve, args=(theirs, "use-multilingual", 1))
    serving.start()
    assert ours.recv() == 512
    ours.send([None])
    failure = ours.recv()
    assert isinstance(failure, InternalError)
    ours.send(["text"])
    assert ours.recv().shape == (1, 512)
    ours.close()
    serving.join()
