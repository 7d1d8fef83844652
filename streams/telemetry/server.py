"""The port on which a process says how it is: /metrics, /ready and /live."""

import asyncio
import errno
import inspect
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from schemas.errors import ConfigurationError
from streams.telemetry.exposition import merge

ADDRESS_FILE_VARIABLE = "LORELAY_ADDRESS_FILE"
HOST_VARIABLE = "LORELAY_METRICS_HOST"
PORT_VARIABLE = "LORELAY_METRICS_PORT"

_SLOW_SECONDS = 0.001
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EACCES, errno.EAFNOSUPPORT, errno.EINVAL}

log = logging.getLogger(__name__)


class MetricsServer:
    """Serves one process's registry over HTTP, in the running event loop.

    ``ready`` gives None once the process can do its work, else what it still waits for.
    ``extra`` gives a further exposition (vLLM's own) to join to ours; where it fails, ours
    is served without it. ``port`` 0 takes a free one.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        ready: Callable[[], str | None],
        extra: Callable[[], bytes | Awaitable[bytes]] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._registry = registry
        self._ready = ready
        self._extra = extra
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._address: str | None = None
        self._last_seconds = float("inf")

    @property
    def address(self) -> str:
        """``host:port`` as bound; only a started server has one."""
        if self._address is None:
            raise RuntimeError("the metrics server is not started")
        return self._address

    async def start(self) -> None:
        """Bind the port and write the address to the file in LORELAY_ADDRESS_FILE, if set.

        Raises ConfigurationError where the port is taken, the host is none of this machine, or the
        file can't be written.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/ready", self._get_ready),
                web.get("/live", self._get_live),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except (OSError, UnicodeError) as error:
            await runner.cleanup()
            raise self._refusal(error) from error
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        _write_address(self._address)

    async def stop(self) -> None:
        """Close the port; scrapes under way get a second to finish."""
        runner, self._runner, self._address = self._runner, None, None
        if runner is not None:
            await runner.cleanup()

    async def _get_metrics(self, _: web.Request) -> web.Response:
        own, extra = await self._own(), await self._extra_exposition()
        body = await asyncio.to_thread(merge, own, extra) if extra else own
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _get_ready(self, _: web.Request) -> web.Response:
        reason = self._ready()
        if reason is None:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"{reason}\n")

    async def _get_live(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _own(self) -> bytes:
        """Our exposition; in a thread, unless the last one was too small to matter."""
        if self._last_seconds > _SLOW_SECONDS:
            return await asyncio.to_thread(self._generate)
        return self._generate()

    def _generate(self) -> bytes:
        begun = time.perf_counter()
        text = generate_latest(self._registry)
        self._last_seconds = time.perf_counter() - begun
        return text

    async def _extra_exposition(self) -> bytes:
        if self._extra is None:
            return b""
        try:
            text = self._extra()
            return await text if inspect.isawaitable(text) else text
        except Exception:
            # Whatever is wrong over there, this is when our own metrics are needed most.
            log.warning("The engine's own metrics can't be read.", exc_info=True)
            return b""

    def _refusal(self, error: OSError | UnicodeError) -> Exception:
        """``error`` as a sentence for the user, if it is the user's to mend."""
        if isinstance(error, UnicodeError | socket.gaierror):
            return ConfigurationError(
                f"There is no host {self._host!r} to serve metrics on; set {HOST_VARIABLE} to an "
                "address of this machine."
            )
        if error.errno == errno.EADDRINUSE:
            return ConfigurationError(
                f"Port {self._port} for metrics is taken; set {PORT_VARIABLE} to another one, "
                "or to 0 for any free one."
            )
        if error.errno in _NO_SUCH_ADDRESS:
            return ConfigurationError(
                f"Metrics can't be served on {self._host}:{self._port} "
                f"({os.strerror(error.errno or 0)}); set {HOST_VARIABLE} to an address of this "
                f"machine and {PORT_VARIABLE} to a port above 1023, or to 0 for any free one."
            )
        return error


def _write_address(address: str) -> None:
    """Leave ``address`` where the starter of this process looks for it, whole or not at all."""
    target = os.environ.get(ADDRESS_FILE_VARIABLE)
    if not target:
        return
    leave_address(Path(target), address)


def leave_address(path: Path, address: str) -> None:
    """Writes the address to the file, whole or not at all. Raises: ConfigurationError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(f"{address}\n")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"The address can't be left in {path} ({error.strerror})."
        ) from error
