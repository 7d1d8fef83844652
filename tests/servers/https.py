"""A server behind HTTPS that hands out files, and misbehaves as it is told to."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.certificates import Authority

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path is answered with; ``sent`` bytes of the body, then, if so, nothing for ever."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    hangs: bool = False
    tells_length: bool = True


class HttpsServer:
    """Made by `https_server`. What lies at which path is set in ``files``."""

    def __init__(self, address: str, authority: Path) -> None:
        self.address = address
        self.authority = authority
        self.files: dict[str, Answer] = {}
        #: Put it into NETRC; there is none at first.
        self.netrc = authority.with_name("netrc")
        self.asked: list[str] = []
        self._is_asked = threading.Condition()
        self.authorizations: list[str | None] = []
        self.ended = threading.Event()

    @property
    def uri(self) -> str:
        """What the URIs of its files begin with."""
        return f"https://{self.address}"

    def ask(self, path: str, authorization: str | None) -> Answer:
        """What a client is answered that asks for the path."""
        with self._is_asked:
            self.asked.append(path)
            self.authorizations.append(authorization)
            self._is_asked.notify_all()
        return self.files.get(path, Answer(status=404))

    def until_asked(self, path: str) -> None:
        """Returns once somebody has asked for the path."""
        with self._is_asked:
            assert self._is_asked.wait_for(lambda: path in self.asked, _SECONDS), path

    def put(self, folder: Path, path: str) -> str:
        """Serves the files of a folder at that path; the folder's URI."""
        for file in folder.iterdir():
            self.files[f"/{path}/{file.name}"] = Answer(file.read_bytes())
        return f"{self.uri}/{path}"


@contextmanager
def https_server(folder: Path) -> Iterator[HttpsServer]:
    """Serves on a free port of 127.0.0.1, with a certificate whose authority lies in ``folder``."""
    authority = Authority(folder, "files-ca")
    issued = authority.issue("files")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    listening.daemon_threads = True
    listening.socket = context.wrap_socket(
        listening.socket, server_side=True, do_handshake_on_connect=False
    )
    served = HttpsServer(f"127.0.0.1:{listening.server_address[1]}", authority.file)
    listening.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        listening.shutdown()
        thread.join()
        listening.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        served: HttpsServer = self.server.served  # type: ignore[attr-defined]
        answer = served.ask(self.path, self.headers.get("authorization"))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.tells_length:
            self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(answer.body[: answer.sent])
        self.wfile.flush()
        if answer.hangs:
            served.ended.wait()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests say what went wrong."""
