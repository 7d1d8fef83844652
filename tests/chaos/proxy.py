"""A TCP proxy between clients and a broker: it cuts connections, or lets nothing through."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cli.stack import ports

_CHUNK_BYTES = 64 * 1024
#: SO_LINGER on, 0 s: a close sends RST, and what was in flight is gone.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards `address` to a target that may be set later; a thread of its own serves it."""

    def __init__(self) -> None:
        self.address = f"{ports.LOOPBACK}:{ports.free_port()}"
        #: How many connections have been cut.
        self.cuts = 0
        #: The pieces of what was sent that have had to wait.
        self.held: list[bytes] = []
        self._target = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._mark: bytes | None = None

    def start(self) -> None:
        """Accepts connections from now on."""
        self._thread.start()
        host, _, port = self.address.rpartition(":")
        serving = asyncio.start_server(self._serve, host, int(port))
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()

    def forward_to(self, target: str) -> None:
        """Where new connections go, host:port."""
        self._target = target

    def cut(self) -> None:
        """Resets every connection, on both sides."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    def swallow(self) -> None:
        """Forwards nothing and closes nothing from now on, until `forward` is called."""
        asyncio.run_coroutine_threadsafe(self._swallow(), self._loop).result()

    def swallow_from(self, text: bytes) -> None:
        """Swallows from the first piece on that has this text."""
        self._mark = text

    def forward(self) -> None:
        """Forwards again, and what has waited, too."""
        self._loop.call_soon_threadsafe(self._is_open.set)

    def stop(self) -> None:
        """Resets every connection and accepts none."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.CancelledError):
            await self._connect(reader, writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._is_open.wait()
        host, _, port = self._target.rpartition(":")
        try:
            target_reader, target_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            _reset(writer)
            self._writers.discard(writer)
            return
        self._writers.add(target_writer)
        for source, sink in ((reader, target_writer), (target_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                if self._mark is not None and self._mark in chunk:
                    self._mark = None
                    self._is_open.clear()
                if not self._is_open.is_set():
                    self.held.append(chunk)
                    await self._is_open.wait()
                sink.write(chunk)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)

    async def _swallow(self) -> None:
        self._is_open.clear()

    async def _cut(self) -> None:
        self.cuts += len(self._writers)
        for writer in self._writers:
            _reset(writer)
        self._writers.clear()

    async def _end(self) -> None:
        self._is_open.set()
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await self._cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def running_proxy() -> Iterator[Proxy]:
    """A proxy that ends with the block."""
    made = Proxy()
    made.start()
    try:
        yield made
    finally:
        made.stop()
