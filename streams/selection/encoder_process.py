"""An encoder in a process of its own.

In a thread, an encoder and the event loop beside it wait for each other's interpreter lock. A
router routed 1,255 queries a second by an encoder in a thread, 1,373 by the same one in a process,
and 1,715 with two batches at a time (two cores).
"""

import logging
import signal
import sys
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from subprocess import DEVNULL, Popen, TimeoutExpired
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError, InternalError, as_request_error
from streams.selection.encoder import DEFAULT_ENCODER, MAX_CHARACTERS, load_encoder, readable

log = logging.getLogger(__name__)

#: How often a batch is given to a process that ends of it.
_TRIES = 2
_STOP_SECONDS = 5.0


class EncoderProcess:
    """An ``Encoder``: ``load_encoder``'s of that name, in a process that ends with this one.

    Safe to call from several threads; it encodes one batch after the other. A process that ends,
    for want of memory or of a text that breaks native code, is started anew, and gets the batch
    once more.

    Raises ``ConfigurationError`` where there is no such encoder.
    """

    def __init__(self, name: str = DEFAULT_ENCODER, *, threads: int = 1) -> None:
        self.name = name
        self._threads = threads
        self._turn = Lock()
        self._is_closed = False
        self.dimensions = self._start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions), read-only.

        Raises ``InternalError`` for texts of which the process ended twice and after ``close``,
        and ``ConfigurationError`` where the process can't be started anew.
        """
        # What isn't read isn't sent: a text may have 10 MB.
        read = [readable(text) if len(text) > MAX_CHARACTERS else text for text in texts]
        with self._turn:
            if self._is_closed:
                raise InternalError("The encoder is closed.")
            for _ in range(_TRIES):
                try:
                    self._connection.send(read)
                    answer: NDArray[np.float32] | Exception = self._connection.recv()
                except (EOFError, OSError):
                    log.error("%s; it is started anew", self._ended())
                    self._start()
                    continue
                if isinstance(answer, Exception):
                    raise answer
                return answer
        raise InternalError(f"The encoder's process ended of {len(texts)} texts, twice.")

    def close(self) -> None:
        """Ends the process after the batch that it has; nothing can be encoded any more."""
        with self._turn:
            self._is_closed = True
            self._connection.close()
            self._ended()

    def _start(self) -> int:
        """Returns the length of the vectors, once the encoder is loaded."""
        try:
            self._connection = self._launch()
        except OSError as error:
            raise ConfigurationError(
                f"No process can be started for the encoder {self.name!r}: {error}."
            ) from error
        try:
            answer: int | ConfigurationError = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ConfigurationError(
                f"{self._ended()} while it loaded {self.name!r}: the log says why."
            ) from error
        if isinstance(answer, ConfigurationError):
            self._connection.close()
            self._ended()
            raise answer
        return answer

    def _launch(self) -> Connection:
        """Starts the process; the connection to it, which nobody else has."""
        ours, theirs = Pipe()
        with theirs:
            # Without -P a folder "streams" where the user stands would be taken for ours.
            command = [sys.executable, "-P", "-m", __name__, str(theirs.fileno())]
            self._process = Popen(
                [*command, self.name, str(self._threads)],
                stdin=DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        return ours

    def _ended(self) -> str:
        """Waits for the end of the process, and says how it came."""
        try:
            status = self._process.wait(_STOP_SECONDS)
        except TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return f"The encoder's process ended with status {status}"


def serve(connection: Connection, name: str, threads: int) -> None:
    """Answers texts with vectors until the other end is closed, as it is by its process's end."""
    try:
        encoder = load_encoder(name, threads=threads)
    except ConfigurationError as error:
        connection.send(error)
        return
    answer: Any = encoder.dimensions
    while True:
        try:
            connection.send(answer)
            texts = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = encoder.encode(texts)
        except Exception as error:  # one batch's; the next may be encoded all the same
            answer = as_request_error(error)


if __name__ == "__main__":
    # A terminal's Ctrl-C and a service's SIGTERM reach every process, and what is read is still to
    # be encoded then: this one ends by its connection alone.
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
