"""Adapters that are fetched from real servers, as a whole or not at all."""

import asyncio
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.adapters.fetch import Fetcher
from inference.adapters.shelf import Shelf
from schemas.records import Artifact
from streams.registry.artifact import CONFIG, WEIGHTS, check_folder
from streams.registry.files import MissingArtifact, UnsoundArtifact
from streams.registry.remote.settings import RemoteSettings
from tests.servers.https import Answer, HttpsServer
from tests.servers.s3 import S3Server
from tests.unit.inference.adapters.conftest import built

PATH = "lora/legal"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shelf"


def make_fetcher(
    folder: Path, *sources: str, max_bytes: int = 1 << 30, idle_seconds: float = 5.0
) -> Fetcher:
    settings = RemoteSettings(
        adapter_sources=sources, adapter_idle_seconds=idle_seconds, adapter_fetch_seconds=30
    )
    return Fetcher(Shelf(folder, max_bytes), settings, most_at_once=4)


Made = tuple[Fetcher, Artifact]


@pytest.fixture
def over_https(https: HttpsServer, folder: Path, tmp_path: Path) -> Made:
    artifact = built(tmp_path / "source")
    uri = https.put(tmp_path / "source", PATH)
    return make_fetcher(folder, https.uri), replace(artifact, uri=uri)


@pytest.fixture
def over_s3(s3: S3Server, folder: Path, tmp_path: Path) -> Made:
    artifact = built(tmp_path / "source")
    uri = s3.put(tmp_path / "source", PATH)
    return make_fetcher(folder, f"s3://{s3.bucket}/lora"), replace(artifact, uri=uri)


@pytest.fixture(params=["over_https", "over_s3"])
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found


def is_empty(folder: Path) -> bool:
    """Neither an adapter nor a part of one is left."""
    return not any((folder / "adapters").iterdir()) and not any((folder / "incoming").iterdir())


async def test_a_fetched_adapter_is_what_was_registered(made: Made, tmp_path: Path) -> None:
    fetcher, artifact = made
    shelved = await fetcher.fetch(artifact)
    assert shelved.is_new
    found = check_folder(shelved.folder, sha256=artifact.sha256, roots=(fetcher.shelf.root,))
    assert found.size_bytes == artifact.size_bytes
    for name in (CONFIG, WEIGHTS):
        assert (shelved.folder / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    assert fetcher.shelf.size_bytes() == sum(
        (tmp_path / "source" / name).stat().st_size for name in (CONFIG, WEIGHTS)
    )


async def test_what_is_there_is_not_fetched_again(over_https: Made, https: HttpsServer) -> None:
    fetcher, artifact = over_https
    (await fetcher.fetch(artifact)).release()
    https.files.clear()
    again = await fetcher.fetch(artifact)
    assert not again.is_new
    assert sorted(https.asked) == [f"/{PATH}/{CONFIG}", f"/{PATH}/{WEIGHTS}"]


async def test_many_who_ask_at_once_fetch_once(
    over_https: Made, https: HttpsServer, folder: Path
) -> None:
    fetcher, artifact = over_https
    other_worker = make_fetcher(folder, https.uri)
    found = await asyncio.gather(
        *(one.fetch(artifact) for one in (fetcher, other_worker) for _ in range(5))
    )
    assert sum(shelved.is_new for shelved in found) == 1
    assert len(https.asked) == 2


async def test_a_file_that_is_not_there_may_come(made: Made) -> None:
    fetcher, artifact = made
    elsewhere = replace(artifact, uri=f"{artifact.uri}/nowhere")
    with pytest.raises(MissingArtifact, match=r"nowhere/adapter_config\.json is not there"):
        await fetcher.fetch(elsewhere)
    (await fetcher.fetch(artifact)).release()


async def test_other_weights_than_the_registered_are_unsound(made: Made, folder: Path) -> None:
    fetcher, artifact = made
    with pytest.raises(UnsoundArtifact, match=r"but 0000.* was registered") as refusal:
        await fetcher.fetch(replace(artifact, sha256="0" * 64))
    assert not isinstance(refusal.value, MissingArtifact)
    assert is_empty(folder)


@pytest.mark.parametrize("more", [-1, 1])
async def test_weights_of_another_size_than_the_registered_are_unsound(
    made: Made, folder: Path, more: int
) -> None:
    fetcher, artifact = made
    with pytest.raises(UnsoundArtifact, match="bytes") as refusal:
        await fetcher.fetch(replace(artifact, size_bytes=artifact.size_bytes + more))
    assert not isinstance(refusal.value, MissingArtifact)
    assert is_empty(folder)


async def test_a_digest_that_is_a_path_names_no_folder(over_https: Made) -> None:
    fetcher, artifact = over_https
    with pytest.raises(UnsoundArtifact, match="no sha256"):
        await fetcher.fetch(replace(artifact, sha256="../../etc"))


async def test_a_download_that_breaks_off_may_be_tried_again(
    over_https: Made, https: HttpsServer, folder: Path
) -> None:
    fetcher, artifact = over_https
    path = f"/{PATH}/{WEIGHTS}"
    whole = https.files[path]
    https.files[path] = replace(whole, sent=1000)
    with pytest.raises(MissingArtifact, match="can't be fetched"):
        await fetcher.fetch(artifact)
    assert is_empty(folder)
    https.files[path] = whole
    assert (await fetcher.fetch(artifact)).is_new


async def test_a_server_that_sends_without_end_is_left(
    over_https: Made, https: HttpsServer, folder: Path
) -> None:
    fetcher, artifact = over_https
    path = f"/{PATH}/{WEIGHTS}"
    endless = https.files[path].body + bytes(1 << 20)
    https.files[path] = Answer(endless, tells_length=False, hangs=True)
    with pytest.raises(UnsoundArtifact, match="more than the"):
        await fetcher.fetch(artifact)
    assert is_empty(folder)


async def test_a_server_that_falls_silent_is_left(
    over_https: Made, https: HttpsServer, folder: Path
) -> None:
    _, artifact = over_https
    fetcher = make_fetcher(folder, https.uri, idle_seconds=0.3)
    path = f"/{PATH}/{WEIGHTS}"
    https.files[path] = replace(https.files[path], sent=1000, hangs=True)
    with pytest.raises(MissingArtifact, match=r"nothing came for 0\.3 s"):
        await fetcher.fetch(artifact)
    assert is_empty(folder)


async def test_a_server_with_an_unknown_certificate_is_asked_nothing(
    over_https: Made, https: HttpsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetcher, artifact = over_https
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(MissingArtifact, match="CERTIFICATE_VERIFY_FAILED"):
        await fetcher.fetch(artifact)
    assert https.asked == []


async def test_a_redirect_is_followed_where_it_may_lead(
    over_https: Made, https: HttpsServer
) -> None:
    fetcher, artifact = over_https
    for name in (CONFIG, WEIGHTS):
        https.files[f"/store/{name}?signed"] = https.files[f"/{PATH}/{name}"]
        https.files[f"/{PATH}/{name}"] = Answer(
            status=302, headers={"Location": f"/store/{name}?signed"}
        )
    assert (await fetcher.fetch(artifact)).is_new


@pytest.mark.parametrize("location", ["http://127.0.0.1/x", "https://localhost/x", "file:///x"])
async def test_a_redirect_that_leads_out_is_not_followed(
    over_https: Made, https: HttpsServer, location: str
) -> None:
    fetcher, artifact = over_https
    https.files[f"/{PATH}/{CONFIG}"] = Answer(status=302, headers={"Location": location})
    with pytest.raises(MissingArtifact, match="leads to"):
        await fetcher.fetch(artifact)


async def test_a_circle_of_redirects_is_left(over_https: Made, https: HttpsServer) -> None:
    fetcher, artifact = over_https
    here = f"/{PATH}/{CONFIG}"
    https.files[here] = Answer(status=302, headers={"Location": here})
    with pytest.raises(MissingArtifact, match="redirected more than"):
        await fetcher.fetch(artifact)


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_server_that_refuses_may_not_always(
    over_https: Made, https: HttpsServer, status: int
) -> None:
    fetcher, artifact = over_https
    https.files[f"/{PATH}/{WEIGHTS}"] = Answer(b"no", status=status)
    with pytest.raises(MissingArtifact):
        await fetcher.fetch(artifact)


async def test_credentials_come_from_netrc_and_are_never_shown(
    over_https: Made, https: HttpsServer, caplog: pytest.LogCaptureFixture
) -> None:
    fetcher, artifact = over_https
    caplog.set_level("DEBUG")
    https.netrc.write_text("machine 127.0.0.1 login reader password geheim\n")
    https.files[f"/{PATH}/{WEIGHTS}"] = Answer(b"no", status=403)
    with pytest.raises(MissingArtifact, match="credentials") as refusal:
        await fetcher.fetch(artifact)
    assert all(sent and sent.startswith("Basic ") for sent in https.authorizations)
    assert "geheim" not in str(refusal.value) + caplog.text


async def test_s3_credentials_are_never_shown(
    over_s3: Made, caplog: pytest.LogCaptureFixture
) -> None:
    fetcher, artifact = over_s3
    caplog.set_level("INFO")
    with pytest.raises(MissingArtifact) as refusal:
        await fetcher.fetch(replace(artifact, uri=f"{artifact.uri}/nowhere"))
    assert "a-tests-secret" not in str(refusal.value) + caplog.text


async def test_what_is_larger_than_the_shelf_is_not_asked_for(
    over_https: Made, https: HttpsServer, folder: Path
) -> None:
    _, artifact = over_https
    small = make_fetcher(folder, https.uri, max_bytes=artifact.size_bytes)
    with pytest.raises(MissingArtifact, match="LORELAY_ADAPTER_STORE_BYTES"):
        await small.fetch(artifact)
    assert f"/{PATH}/{WEIGHTS}" not in https.asked


@pytest.fixture
def small_files() -> Callable[[int], None]:
    """Lets this process write no file of more bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))

    yield limit  # type: ignore[misc]
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_without_room_is_named(
    made: Made, folder: Path, small_files: Callable[[int], None]
) -> None:
    fetcher, artifact = made
    small_files(4096)
    with pytest.raises(MissingArtifact, match="The disk has no room for it at"):
        await fetcher.fetch(artifact)
    assert is_empty(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A disk of 16 KB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk  # type: ignore[misc]
    subprocess.run(["umount", str(disk)], check=True)


async def test_a_full_disk_is_named(over_https: Made, https: HttpsServer, small_disk: Path) -> None:
    _, artifact = over_https
    fetcher = make_fetcher(small_disk / "shelf", https.uri)
    with pytest.raises(MissingArtifact, match="The disk has no room for it at"):
        await fetcher.fetch(artifact)
    assert is_empty(small_disk / "shelf")


async def test_a_folder_that_nobody_may_write_to_is_named(
    over_https: Made, https: HttpsServer, tmp_path: Path
) -> None:
    _, artifact = over_https
    (tmp_path / "file").write_text("no folder")
    fetcher = make_fetcher(tmp_path / "file" / "shelf", https.uri)
    with pytest.raises(MissingArtifact, match="shelf can't be used: Not a directory"):
        await fetcher.fetch(artifact)


_FETCHES = """
import asyncio, sys
from tests.unit.inference.adapters.test_fetch import make_fetcher
from schemas.records import Artifact
from pathlib import Path
folder, source, uri, sha256, size = sys.argv[1:]
asyncio.run(make_fetcher(Path(folder), source).fetch(Artifact(uri, sha256, int(size))))
"""


async def test_what_a_killed_worker_was_fetching_is_fetched_by_the_next(
    over_https: Made, https: HttpsServer, folder: Path
) -> None:
    fetcher, artifact = over_https
    path = f"/{PATH}/{WEIGHTS}"
    whole = https.files[path]
    https.files[path] = replace(whole, sent=1000, hangs=True)
    arguments = [str(folder), https.uri, artifact.uri, artifact.sha256, str(artifact.size_bytes)]
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", _FETCHES, *arguments)
    await asyncio.to_thread(https.until_asked, path)
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    assert any((folder / "incoming").iterdir())
    https.files[path] = whole
    shelved = await fetcher.fetch(artifact)
    assert shelved.is_new
    assert not any((folder / "incoming").iterdir())


async def test_whoever_is_cancelled_leaves_nothing(
    over_https: Made, https: HttpsServer, folder: Path
) -> None:
    fetcher, artifact = over_https
    path = f"/{PATH}/{WEIGHTS}"
    whole = https.files[path]
    https.files[path] = replace(whole, sent=1000, hangs=True)
    fetching = asyncio.create_task(fetcher.fetch(artifact))
    await asyncio.to_thread(https.until_asked, path)
    fetching.cancel()
    await asyncio.wait([fetching])
    https.files[path] = whole
    assert (await fetcher.fetch(artifact)).is_new
    assert not any((folder / "incoming").iterdir())


async def test_a_folder_lost_from_the_shelf_is_fetched_again(
    over_https: Made, folder: Path
) -> None:
    fetcher, artifact = over_https
    (await fetcher.fetch(artifact)).release()
    shutil.rmtree(folder)
    fetcher = make_fetcher(folder, artifact.uri)
    assert (await fetcher.fetch(artifact)).is_new
