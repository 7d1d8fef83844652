"""Registering what lies elsewhere: it is fetched, looked at and not kept."""

import json
from pathlib import Path

import pytest

from schemas.errors import RegistrationRefused
from streams.registry.candidate import read_candidate
from streams.registry.remote.settings import RemoteSettings
from tests.servers.https import Answer, HttpsServer
from tests.unit.streams.registry.factories import NOW, metadata, write_adapter


@pytest.fixture
def file(https: HttpsServer, tmp_path: Path) -> Path:
    """Metadata that name a folder on the server."""
    uri = https.put(write_adapter(tmp_path / "source", examples=4), "legal")
    path = tmp_path / "metadata" / "legal.json"
    path.parent.mkdir()
    path.write_text(json.dumps(metadata(vllm={"adapter_path": f"{uri}/"})))
    return path


def test_the_files_are_read_where_they_lie_and_named_so(file: Path, https: HttpsServer) -> None:
    settings = RemoteSettings(adapter_sources=(https.uri,))
    candidate = read_candidate(file, NOW, remote=settings)
    artifact = candidate.version.artifact
    assert artifact is not None
    assert artifact.uri == f"{https.uri}/legal"
    assert artifact.size_bytes == len(https.files["/legal/adapter_model.safetensors"].body)
    assert candidate.version.training.lora_rank == 4
    assert len(candidate.examples) == 4


def test_examples_may_lie_elsewhere_or_nowhere(file: Path, https: HttpsServer) -> None:
    settings = RemoteSettings(adapter_sources=(https.uri,))
    https.files["/legal/examples.jsonl"] = Answer(status=404)
    assert read_candidate(file, NOW, remote=settings).examples == ()
    own = file.parent / "examples.jsonl"
    own.write_text('{"text": "Wie lange?"}\n')
    assert len(read_candidate(file, NOW, remote=settings).examples) == 1


def test_nothing_is_fetched_from_where_no_setting_says_so(
    file: Path, https: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RegistrationRefused, match="outside LORELAY_ADAPTER_SOURCES"):
        read_candidate(file, NOW)
    assert https.asked == []
    monkeypatch.setenv("LORELAY_ADAPTER_SOURCES", https.uri)
    assert read_candidate(file, NOW).version.artifact


def test_files_that_are_unsound_are_refused(file: Path, https: HttpsServer) -> None:
    https.files["/legal/adapter_model.safetensors"] = Answer(b"no weights at all")
    with pytest.raises(RegistrationRefused, match="no sound safetensors file"):
        read_candidate(file, NOW, remote=RemoteSettings(adapter_sources=(https.uri,)))
