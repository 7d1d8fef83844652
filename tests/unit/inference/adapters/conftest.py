"""Servers that adapters are fetched from, and registered adapters that lie there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from schemas.records import Artifact
from streams.registry.artifact import digest
from tests.contract.tiny_model import build_adapter
from tests.servers.https import HttpsServer, https_server
from tests.servers.s3 import S3Server, s3_server


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    """A server whose certificate is trusted."""
    folder = tmp_path / "https"
    folder.mkdir()
    with https_server(folder) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        monkeypatch.setenv("NETRC", str(server.netrc))
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


def built(folder: Path, *, seed: int = 1, rank: int = 4) -> Artifact:
    """An adapter's folder as it would be registered, less its URI."""
    weights = build_adapter(folder, rank=rank, seed=seed) / "adapter_model.safetensors"
    return Artifact(folder.as_uri(), digest(weights), weights.stat().st_size)
