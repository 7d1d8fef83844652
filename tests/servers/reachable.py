"""Servers that adapters lie on, as this process's environment leads to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from tests.servers.https import HttpsServer, https_server
from tests.servers.s3 import S3Server, s3_server


@contextmanager
def reachable_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    """One whose certificate is trusted; what is its own lies in a folder of ``tmp_path``."""
    folder = tmp_path / "https"
    folder.mkdir()
    with https_server(folder) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        monkeypatch.setenv("NETRC", str(server.netrc))
        yield server


@contextmanager
def reachable_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """One that s3fs finds, with its credentials."""
    with s3_server() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        yield server
        S3FileSystem.clear_instance_cache()
