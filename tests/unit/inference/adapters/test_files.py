"""Versions whose files lie elsewhere, as an engine gets them."""

from dataclasses import replace
from pathlib import Path

import pytest

from inference.adapters.fetch import Fetcher
from inference.adapters.files import AdapterFiles
from inference.adapters.shelf import Shelf
from inference.adapters.store import AdapterStore
from inference.engine.echo import EchoEngine
from inference.engine.protocol import EngineLimits
from schemas.errors import AdapterCorrupt, AdapterUnavailable
from schemas.records import AdapterVersion, BaseModel, Training
from streams.registry.artifact import CONFIG, WEIGHTS
from streams.registry.remote.settings import RemoteSettings
from tests.servers.https import HttpsServer
from tests.unit.inference.adapters.conftest import built

LIMITS = EngineLimits(BaseModel("tiny"), 128, 4, 1, 1, 16)


@pytest.fixture
def files(https: HttpsServer, tmp_path: Path) -> AdapterFiles:
    settings = RemoteSettings(adapter_sources=(https.uri,))
    shelf = Shelf(tmp_path / "shelf", 1 << 30)
    return AdapterFiles(lambda: LIMITS, fetcher=Fetcher(shelf, settings, most_at_once=2))


def registered(https: HttpsServer, folder: Path, domain: str = "legal") -> AdapterVersion:
    artifact = built(folder / domain, seed=len(domain))
    return AdapterVersion(
        adapter_id=f"{domain}-qa-v1",
        adapter_version="1.0.0",
        family=f"{domain}-qa",
        domain=domain,
        task_type="qa",
        base_model=BaseModel("tiny"),
        training=Training(lora_rank=4, lora_alpha=8.0),
        artifact=replace(artifact, uri=https.put(folder / domain, domain)),
    )


@pytest.fixture
def version(https: HttpsServer, tmp_path: Path) -> AdapterVersion:
    return registered(https, tmp_path)


async def test_an_adapter_elsewhere_is_loaded_from_this_hosts_disk(
    files: AdapterFiles, version: AdapterVersion, tmp_path: Path
) -> None:
    resident = await files.ready(version)
    assert Path(resident.loaded.path).is_relative_to(tmp_path / "shelf")
    assert (resident.loaded.key, resident.loaded.rank) == (version.key, 4)
    resident.release()


async def test_an_adapter_of_another_base_model_is_not_even_fetched(
    files: AdapterFiles, version: AdapterVersion, https: HttpsServer
) -> None:
    with pytest.raises(AdapterUnavailable, match="serves tiny"):
        await files.ready(replace(version, base_model=BaseModel("other")))
    assert https.asked == []


async def test_weights_of_another_shape_are_corrupt(
    files: AdapterFiles, version: AdapterVersion, https: HttpsServer
) -> None:
    path = f"/legal/{CONFIG}"
    https.files[path] = replace(
        https.files[path], body=https.files[path].body.replace(b'"r": 4', b'"r": 5')
    )
    with pytest.raises(AdapterCorrupt, match="rank"):
        await files.ready(version)


async def test_a_configuration_that_scales_otherwise_is_corrupt(
    files: AdapterFiles, version: AdapterVersion, https: HttpsServer
) -> None:
    path = f"/legal/{CONFIG}"
    body = https.files[path].body
    https.files[path] = replace(
        https.files[path], body=body.replace(b'"lora_alpha": 8', b'"lora_alpha": 9')
    )
    with pytest.raises(AdapterCorrupt, match="lora_alpha 9, but 8 was registered"):
        await files.ready(version)


async def test_files_that_the_disk_has_spoilt_are_fetched_again(
    files: AdapterFiles, version: AdapterVersion, https: HttpsServer
) -> None:
    resident = await files.ready(version)
    weights = Path(resident.loaded.path) / WEIGHTS
    resident.release()
    spoilt = bytearray(weights.read_bytes())
    spoilt[-1] ^= 1
    weights.write_bytes(spoilt)
    again = await files.ready(version)
    assert weights.read_bytes() == https.files[f"/legal/{WEIGHTS}"].body
    again.release()


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
async def test_a_file_that_the_disk_has_lost_is_fetched_again(
    files: AdapterFiles, version: AdapterVersion, https: HttpsServer, name: str
) -> None:
    resident = await files.ready(version)
    file = Path(resident.loaded.path) / name
    resident.release()
    file.unlink()
    again = await files.ready(version)
    assert file.read_bytes() == https.files[f"/legal/{name}"].body
    again.release()


async def test_a_spoilt_copy_is_fetched_again_once_nobody_uses_it(
    files: AdapterFiles, version: AdapterVersion, https: HttpsServer
) -> None:
    used = await files.ready(version)
    weights = Path(used.loaded.path) / WEIGHTS
    weights.write_bytes(bytes(weights.stat().st_size))
    asked = len(https.asked)
    with pytest.raises(AdapterUnavailable, match="in use, but is spoilt: ") as refused:
        await files.ready(version)
    assert not isinstance(refused.value, AdapterCorrupt)
    assert len(https.asked) == asked
    used.release()
    again = await files.ready(version)
    assert weights.read_bytes() == https.files[f"/legal/{WEIGHTS}"].body
    again.release()


async def test_files_elsewhere_that_are_unsound_are_corrupt_and_not_kept(
    files: AdapterFiles, version: AdapterVersion, https: HttpsServer, tmp_path: Path
) -> None:
    path = f"/legal/{WEIGHTS}"
    body = https.files[path].body
    https.files[path] = replace(https.files[path], body=body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(AdapterCorrupt, match="sha256"):
        await files.ready(version)
    assert not any((tmp_path / "shelf" / "adapters").iterdir())


async def test_what_the_engine_holds_stays_on_the_disk_until_it_holds_it_no_more(
    https: HttpsServer, tmp_path: Path
) -> None:
    legal = registered(https, tmp_path)
    medical = registered(https, tmp_path, "medical")
    assert legal.artifact and medical.artifact
    room_for_one = max(legal.artifact.size_bytes, medical.artifact.size_bytes) + 4096
    settings = RemoteSettings(adapter_sources=(https.uri,))
    fetcher = Fetcher(Shelf(tmp_path / "small", room_for_one), settings, most_at_once=2)
    engine = EchoEngine(LIMITS)
    await engine.start()
    store = AdapterStore(engine, AdapterFiles(lambda: LIMITS, fetcher=fetcher), retry_after_s=0)
    await store.ensure(legal)
    with pytest.raises(AdapterUnavailable, match="There is no room"):
        await store.ensure(medical)
    await store.unload(legal.key)
    assert (await store.ensure(medical)).key == medical.key
    await engine.stop()
    store.forget()
    await engine.start()
    assert (await store.ensure(legal)).key == legal.key
