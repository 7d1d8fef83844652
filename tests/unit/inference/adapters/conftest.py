"""Servers that adapters are fetched from, and registered adapters that lie there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records import Artifact
from streams.registry.artifact import digest
from tests.contract.tiny_model import build_adapter
from tests.servers.https import HttpsServer
from tests.servers.reachable import reachable_https, reachable_s3
from tests.servers.s3 import S3Server


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    with reachable_https(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with reachable_s3(monkeypatch) as server:
        yield server


def built(folder: Path, *, seed: int = 1, rank: int = 4) -> Artifact:
    """An adapter's folder as it would be registered, less its URI."""
    weights = build_adapter(folder, rank=rank, seed=seed) / "adapter_model.safetensors"
    return Artifact(folder.as_uri(), digest(weights), weights.stat().st_size)
