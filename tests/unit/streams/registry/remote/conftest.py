"""Servers that adapters lie on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from tests.servers.https import HttpsServer, https_server
from tests.servers.s3 import S3Server, s3_server


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    """A server whose certificate is trusted."""
    with https_server(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        yield server


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that this process's environment leads to."""
    with s3_server() as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        S3FileSystem.clear_instance_cache()
        yield server
        S3FileSystem.clear_instance_cache()
