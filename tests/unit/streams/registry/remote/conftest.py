"""Servers that adapters lie on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
