"""Registering by a URI: what lies there is read as a folder here is."""

import asyncio
import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import RegistrationRefused
from streams.registry.candidate import Candidate, read_candidate
from streams.registry.remote.fetching import Fetching
from streams.registry.remote.settings import RemoteSettings
from tests.servers.https import Answer, HttpsServer
from tests.servers.s3 import S3Server
from tests.unit.streams.registry.factories import NOW, write_adapter

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Its metadata say where it lay when it was trained."""
    return write_adapter(tmp_path / "source", vllm={"adapter_path": "/trained/here"})


def read(uri: str, examples: Path | None = None, fetching: Fetching | None = None) -> Candidate:
    """From there alone."""
    parent = uri.rstrip("/").rpartition("/")[0]
    settings = RemoteSettings(adapter_sources=(parent,), adapter_idle_seconds=5)
    return read_candidate(uri, NOW, examples, settings, fetching)


def test_a_folder_on_s3_is_read_as_one_here(s3: S3Server, folder: Path) -> None:
    uri = s3.put(folder, "lora/legal")
    found, here = read(f"{uri}/"), read_candidate(folder, NOW)
    artifact = found.version.artifact
    assert artifact is not None and artifact.uri == uri
    assert replace(found.version, artifact=here.version.artifact) == here.version
    assert here.version.artifact is not None
    assert (artifact.sha256, artifact.size_bytes) == (
        here.version.artifact.sha256,
        here.version.artifact.size_bytes,
    )
    assert found.examples == here.examples


def test_of_a_web_server_the_names_of_a_folder_are_asked_for(
    https: HttpsServer, folder: Path
) -> None:
    candidate = read(https.put(folder, "lora/legal"))
    assert candidate.version.artifact is not None
    assert candidate.version.artifact.uri == f"{https.uri}/lora/legal"
    assert sorted(https.asked) == [
        f"/lora/legal/{name}"
        for name in ("adapter_config.json", WEIGHTS, "examples.jsonl", "metadata.json")
    ]


def test_metadata_of_any_name_are_found_where_a_folder_can_be_listed(
    s3: S3Server, folder: Path
) -> None:
    (folder / "metadata.json").rename(folder / "themis.json")
    (folder / "tokenizer.json").write_text("{}")
    assert read(s3.put(folder, "lora/legal")).version.key == "legal-qa-v1@1.2.0"


def test_where_it_cannot_be_listed_the_metadata_have_a_uri_of_their_own(
    https: HttpsServer, folder: Path
) -> None:
    (folder / "metadata.json").rename(folder / "themis.json")
    uri = https.put(folder, "lora/legal")
    with pytest.raises(RegistrationRefused, match="name the metadata file by its own URI"):
        read(uri)
    candidate = read_candidate(
        f"{uri}/themis.json", NOW, remote=RemoteSettings(adapter_sources=(https.uri,))
    )
    assert candidate.version.artifact is not None
    assert candidate.version.artifact.uri == uri


def test_examples_that_are_here_are_not_asked_for_there(
    https: HttpsServer, folder: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"text": "Wie lange?"}\n')
    candidate = read(https.put(folder, "lora/legal"), own)
    assert [example.text for example in candidate.examples] == ["Wie lange?"]
    assert "/lora/legal/examples.jsonl" not in https.asked


def test_unfit_metadata_cost_no_download_of_weights(https: HttpsServer, tmp_path: Path) -> None:
    ill_named = write_adapter(tmp_path / "source", adapter_id="legal")
    with pytest.raises(RegistrationRefused, match="must be shaped"):
        read(https.put(ill_named, "lora/legal"))
    assert https.asked == ["/lora/legal/metadata.json"]


def test_what_may_not_be_fetched_comes_with_the_setting_that_would_allow_it(
    https: HttpsServer,
) -> None:
    settings = RemoteSettings(adapter_sources=("s3://other",))
    with pytest.raises(
        RegistrationRefused,
        match=f"LORELAY_ADAPTER_SOURCES=s3://other,{https.uri}/lora, in this process's",
    ):
        read_candidate(f"{https.uri}/lora/legal", NOW, remote=settings)
    assert https.asked == []


@pytest.mark.parametrize("name", [WEIGHTS, "adapter_config.json"])
def test_a_file_that_is_missing_is_named(s3: S3Server, folder: Path, name: str) -> None:
    (folder / name).unlink()
    uri = s3.put(folder, "lora/legal")
    with pytest.raises(RegistrationRefused, match=f"{uri}/{name} is not there"):
        read(uri)


def test_a_folder_without_metadata_is_refused(s3: S3Server) -> None:
    uri = f"s3://{s3.bucket}/lora/nothing"
    with pytest.raises(RegistrationRefused, match=rf"{uri} has no metadata\.json"):
        read(uri)


def test_a_bucket_that_is_not_there_is_told_from_a_file_that_is_not(s3: S3Server) -> None:
    with pytest.raises(RegistrationRefused, match="There is no bucket no-such-bucket"):
        read("s3://no-such-bucket/lora/legal")


def test_missing_credentials_are_told_by_their_names(
    s3: S3Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = s3.put(folder, "lora/legal")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RegistrationRefused, match="no credentials for S3; set AWS_ACCESS_KEY_ID"):
        read(uri)


def test_refused_credentials_are_told_by_where_they_come_from(
    https: HttpsServer, folder: Path
) -> None:
    uri = https.put(folder, "lora/legal")
    https.files["/lora/legal/metadata.json"] = Answer(status=401)
    with pytest.raises(RegistrationRefused, match="netrc"):
        read(uri)


def test_a_file_announced_too_large_is_not_read(https: HttpsServer, folder: Path) -> None:
    uri = https.put(folder, "lora/legal")
    https.files[f"/lora/legal/{WEIGHTS}"] = Answer(
        headers={"Content-Length": str(1 << 40)}, tells_length=False
    )
    with pytest.raises(RegistrationRefused, match=rf"{WEIGHTS} has more than the 4,294,967,296"):
        read(uri)


def test_what_is_unsound_is_named_by_where_it_lies(https: HttpsServer, folder: Path) -> None:
    uri = https.put(folder, "lora/legal")
    https.files[f"/lora/legal/{WEIGHTS}"] = Answer(b"no weights at all")
    with pytest.raises(RegistrationRefused, match=f"^{uri}/{WEIGHTS} is no sound safetensors"):
        read(uri)
    https.files["/lora/legal/metadata.json"] = Answer(b"<html>")
    with pytest.raises(RegistrationRefused, match=rf"^{uri}/metadata\.json is not JSON"):
        read(uri)


def test_whoever_waits_is_told_how_far_it_is(https: HttpsServer, folder: Path) -> None:
    told: dict[str, tuple[int, int | None]] = {}

    def received(url: str, so_far: int, size_bytes: int | None) -> None:
        told[url] = (so_far, size_bytes)

    uri = https.put(folder, "lora/legal")
    read(uri, fetching=Fetching(received))
    size = (folder / WEIGHTS).stat().st_size
    assert told[f"{uri}/{WEIGHTS}"] == (size, size)


async def test_whoever_waits_may_end_it_while_the_server_is_silent(
    https: HttpsServer, folder: Path
) -> None:
    uri = https.put(folder, "lora/legal")
    weights = f"/lora/legal/{WEIGHTS}"
    https.files[weights] = replace(https.files[weights], sent=100, hangs=True)
    settings = RemoteSettings(adapter_sources=(https.uri,), adapter_idle_seconds=10_000)
    fetching = Fetching()
    ended: list[BaseException] = []

    def reading() -> None:
        try:
            read_candidate(uri, NOW, remote=settings, fetching=fetching)
        except CancelledError as error:
            ended.append(error)

    thread = threading.Thread(target=reading)
    thread.start()
    await asyncio.to_thread(https.until_asked, weights)
    fetching.end()
    await asyncio.to_thread(thread.join)
    assert ended
