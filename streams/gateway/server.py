"""uvicorn in an event loop that is not its own."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from schemas.errors import ConfigurationError
from streams.gateway.connection import Connection

#: What is still being written after the last query has ended.
_LAST_WORDS_SECONDS: Final = 5
_SEND_BYTES: Final = 64 * 1024
_NO_SUCH_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EACCES, errno.EAFNOSUPPORT, errno.EINVAL}


class _Embedded(uvicorn.Server):
    """The process has its own handlers of signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_serving = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_serving.set()


class ApiServer:
    """Serves an application on one address."""

    def __init__(self, host: str, port: int, stall_seconds: float) -> None:
        self._host = host
        self._port = port
        self._stall_seconds = stall_seconds
        self._socket: socket.socket | None = None
        self._server: _Embedded | None = None
        self._serving: asyncio.Task[None] | None = None

    def bind(self) -> str:
        """Takes the address; host:port as bound. Who has it too, and listens first, keeps it.

        Raises: ConfigurationError where somebody listens there, or it is none of this machine.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = self._socket = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit both: the kernel buffers no more than that for a slow client, and
        # ends the connection of one who takes nothing for so long.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        bound.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._stall_seconds * 1000)
        )
        try:
            bound.bind((self._host, self._port))
        except (OSError, UnicodeError) as error:
            bound.close()
            raise self._refusal(error) from error
        host, port = bound.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self, app: ASGIApp) -> None:
        """Returns when requests are answered. Raises: ConfigurationError as `bind` does."""
        assert self._socket is not None, "bind() comes first"
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_LAST_WORDS_SECONDS,
        )
        self._server = _Embedded(config)
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        waiting = asyncio.create_task(self._server.is_serving.wait())
        await asyncio.wait({self._serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            self._server = None
            try:
                await self._serving
            except OSError as error:
                raise self._refusal(error) from error

    def refuse(self) -> None:
        """No new connections from now on."""
        if self._server is not None:
            for server in self._server.servers:
                server.close()

    async def stop(self) -> None:
        """Ends; what is being written gets a moment."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
        elif self._socket is not None:
            self._socket.close()

    def _refusal(self, error: OSError | UnicodeError) -> Exception:
        if isinstance(error, UnicodeError | socket.gaierror):
            return ConfigurationError(
                f"There is no host {self._host!r} to serve the gateway on; set "
                "LORELAY_GATEWAY_HOST to an address of this machine."
            )
        if error.errno == errno.EADDRINUSE:
            return ConfigurationError(
                f"Port {self._port} for the gateway is taken; set LORELAY_GATEWAY_PORT to another "
                "one, or to 0 for any free one."
            )
        if error.errno in _NO_SUCH_ADDRESS:
            return ConfigurationError(
                f"The gateway can't be served on {self._host}:{self._port} "
                f"({os.strerror(error.errno)}); set LORELAY_GATEWAY_HOST to an address of this "
                "machine and LORELAY_GATEWAY_PORT to a port above 1023, or to 0 for any free one."
            )
        return error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
