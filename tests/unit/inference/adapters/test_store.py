"""Adapters that get into the engine on their first request, and out for others."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from inference.adapters.failures import LOOK_AGAIN_S, MOST_FAILURES
from inference.adapters.files import AdapterFiles
from inference.adapters.store import AdapterStore
from inference.engine.config import LoraModule
from inference.engine.echo import EchoEngine
from inference.engine.protocol import EngineLimits, Generation, LoadedAdapter
from schemas.errors import (
    AdapterCorrupt,
    AdapterUnavailable,
    ConfigurationError,
)
from schemas.records import AdapterVersion, Artifact, BaseModel
from streams.registry.artifact import digest
from tests.contract.tiny_model import build_adapter

PLACES = 2


class CountingEngine(EchoEngine):
    """Keeps what it was asked to load and unload."""

    def __init__(self) -> None:
        super().__init__(EngineLimits(BaseModel("tiny"), 128, 4, PLACES, PLACES, 16))
        self.loads: list[str] = []
        self.unloads: list[str] = []
        self.before_load: Callable[[LoadedAdapter], object] = lambda adapter: None

    async def load(self, adapter: LoadedAdapter) -> None:
        self.loads.append(adapter.key)
        self.before_load(adapter)
        await super().load(adapter)

    async def unload(self, key: str) -> None:
        self.unloads.append(key)
        await super().unload(key)


@pytest.fixture
async def engine() -> CountingEngine:
    started = CountingEngine()
    await started.start()
    return started


@pytest.fixture
def store(engine: CountingEngine) -> AdapterStore:
    return AdapterStore(engine, AdapterFiles(lambda: engine.limits))


@pytest.fixture
def register(tmp_path: Path) -> Callable[[str], AdapterVersion]:
    def made(domain: str) -> AdapterVersion:
        folder = build_adapter(tmp_path / domain, rank=4, seed=len(domain))
        weights = folder / "adapter_model.safetensors"
        return AdapterVersion(
            adapter_id=f"{domain}-qa-v1",
            adapter_version="1.0.0",
            family=f"{domain}-qa",
            domain=domain,
            task_type="qa",
            base_model=BaseModel("tiny"),
            prompt_template="Q: {prompt}",
            artifact=Artifact(str(folder), digest(weights), weights.stat().st_size),
        )

    return made


Register = Callable[[str], AdapterVersion]


async def test_many_first_requests_load_an_adapter_once(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    version = register("legal")
    loaded = await asyncio.gather(*(store.ensure(version) for _ in range(20)))
    assert engine.loads == [version.key]
    assert set(loaded) == {await store.ensure(version)}
    assert store.resident == (version.key,)


async def test_it_tells_when_an_adapter_was_loaded_last(
    engine: CountingEngine, register: Register
) -> None:
    version = register("legal")
    now = 20.0
    store = AdapterStore(engine, AdapterFiles(lambda: engine.limits), clock=lambda: now)
    assert store.loaded_at(version.key) is None
    await store.ensure(version)
    now = 30.0
    await store.ensure(version)
    assert store.loaded_at(version.key) == 20.0
    await store.unload(version.key)
    assert store.loaded_at(version.key) is None
    await store.ensure(version)
    assert store.loaded_at(version.key) == 30.0


async def test_a_caller_that_gives_up_does_not_take_the_adapter_from_the_others(
    store: AdapterStore, register: Register
) -> None:
    version = register("legal")
    first, second = (asyncio.create_task(store.ensure(version)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).key == version.key


async def test_the_least_used_adapter_makes_room(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    legal, medical, tax = register("legal"), register("medical"), register("tax")
    for version in (legal, medical, legal, tax):
        await store.ensure(version)
    assert engine.unloads == [medical.key]
    assert store.resident == (legal.key, tax.key)
    await store.ensure(medical)
    assert store.resident == (legal.key, medical.key)


async def test_what_the_engine_loads_is_told_for_as_long_as_it_does(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    told: list[str | None] = []
    engine.before_load = lambda adapter: told.append(store.at_engine)
    legal = register("legal")
    await store.ensure(legal)
    assert (told, store.at_engine) == ([legal.key], None)


async def test_many_adapters_at_once_never_exceed_the_places(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    versions = [register(domain) for domain in ("legal", "medical", "tax", "labour", "traffic")]
    loaded = await asyncio.gather(*(store.ensure(version) for version in versions))
    assert [adapter.key for adapter in loaded] == [version.key for version in versions]
    assert len(store.resident) == PLACES


async def test_an_idle_adapter_makes_room_before_a_busy_one_that_was_used_earlier(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    legal, medical, tax = register("legal"), register("medical"), register("tax")
    async with store.using(legal):
        await store.ensure(medical)
        await store.ensure(tax)
        assert engine.unloads == [medical.key]
        assert store.resident == (legal.key, tax.key)


async def test_an_adapter_in_use_is_never_taken_away(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    legal, medical, tax = register("legal"), register("medical"), register("tax")
    async with store.using(legal), store.using(medical) as adapter:
        evicting = asyncio.create_task(store.ensure(tax))
        assert [e async for e in engine.generate(Generation("a", "x", adapter=adapter))]
        assert engine.unloads == []
    await evicting
    assert engine.unloads == [legal.key]


async def test_everybody_gets_the_adapter_that_they_ask_for_however_few_places_there_are(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    versions = [register(domain) for domain in ("legal", "medical", "tax", "labour", "traffic")]

    async def ask(number: int, version: AdapterVersion) -> None:
        async with store.using(version) as adapter:
            request = Generation(f"{version.key} {number}", "one two", adapter=adapter)
            assert [event async for event in engine.generate(request)]

    await asyncio.gather(*(ask(n, version) for n in range(20) for version in versions))
    assert len(store.resident) == PLACES


async def test_an_adapter_in_use_by_the_engine_alone_is_waited_for(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    legal = await store.ensure(register("legal"))
    await store.ensure(register("medical"))
    running = engine.generate(Generation("a", "one two", adapter=legal, stream=True))
    await anext(running)
    evicting = asyncio.create_task(store.ensure(register("tax")))
    assert [event async for event in running]
    assert (await evicting).key == "tax-qa-v1@1.0.0"


async def test_whoever_waits_for_room_has_it_in_an_engine_that_was_started_anew(
    engine: CountingEngine, store: AdapterStore, register: Register
) -> None:
    legal = register("legal")
    async with store.using(legal), store.using(register("medical")):
        waiting = asyncio.create_task(store.ensure(register("tax")))
        # It takes no more on as long as its place is waited for.
        while store.is_ready(legal):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)
        await engine.stop()
        await engine.start()
        store.forget()
        assert (await waiting).key == "tax-qa-v1@1.0.0"
    assert store.resident == ("tax-qa-v1@1.0.0",)


async def test_a_corrupt_adapter_is_refused_from_memory_until_it_is_registered_anew(
    store: AdapterStore, register: Register, tmp_path: Path
) -> None:
    version = register("legal")
    build_adapter(tmp_path / "legal", rank=4, seed=99)
    with pytest.raises(AdapterCorrupt):
        await store.ensure(version)
    assert "sha256" in store.failures[version.key]
    register("legal")
    with pytest.raises(AdapterCorrupt):
        await store.ensure(version)
    mended = replace(version, artifact=replace(version.artifact, uri=f"{tmp_path}/legal/"))  # type: ignore[type-var]
    assert (await store.ensure(mended)).key == version.key


async def test_a_corrupt_adapter_is_looked_at_again_once_it_may_have_been_put_right(
    engine: CountingEngine, register: Register, tmp_path: Path
) -> None:
    now = 0.0
    store = AdapterStore(engine, AdapterFiles(lambda: engine.limits), clock=lambda: now)
    version = register("legal")
    build_adapter(tmp_path / "legal", rank=4, seed=99)
    with pytest.raises(AdapterCorrupt):
        await store.ensure(version)
    assert register("legal").artifact == version.artifact
    now = LOOK_AGAIN_S - 0.1
    with pytest.raises(AdapterCorrupt):
        await store.ensure(version)
    now = LOOK_AGAIN_S
    assert (await store.ensure(version)).key == version.key


async def test_files_swapped_between_the_check_and_the_load_are_not_served(
    engine: CountingEngine, register: Register, tmp_path: Path
) -> None:
    version = register("legal")
    engine.before_load = lambda adapter: build_adapter(Path(adapter.path), rank=4, seed=99)
    store = AdapterStore(engine, AdapterFiles(lambda: engine.limits), retry_after_s=0)
    with pytest.raises(AdapterUnavailable, match="changed while it was being loaded"):
        await store.ensure(version)
    assert (engine.unloads, store.resident) == ([version.key], ())
    with pytest.raises(AdapterCorrupt, match="sha256"):
        await store.ensure(version)


async def test_adapters_outside_the_allowed_folders_are_not_loaded(
    engine: CountingEngine, register: Register, tmp_path: Path
) -> None:
    version = register("legal")
    store = AdapterStore(engine, AdapterFiles(lambda: engine.limits, roots=(tmp_path / "medical",)))
    with pytest.raises(AdapterUnavailable, match="outside LORELAY_ADAPTER_ROOTS"):
        await store.ensure(version)
    with pytest.raises(ConfigurationError, match="outside LORELAY_ADAPTER_ROOTS"):
        await store.preload([LoraModule(name="x", path=tmp_path / "legal")])
    assert engine.loads == []


async def test_a_missing_folder_is_looked_for_again_after_a_while(
    engine: CountingEngine, register: Register, tmp_path: Path
) -> None:
    now = 0.0
    store = AdapterStore(
        engine, AdapterFiles(lambda: engine.limits), retry_after_s=10, clock=lambda: now
    )
    version = register("legal")
    shutil.move(tmp_path / "legal", tmp_path / "away")
    with pytest.raises(AdapterUnavailable, match="no folder"):
        await store.ensure(version)
    shutil.move(tmp_path / "away", tmp_path / "legal")
    now = 9.9
    with pytest.raises(AdapterUnavailable):
        await store.ensure(version)
    now = 10.0
    assert (await store.ensure(version)).key == version.key
    assert store.failures == {}


async def test_a_failure_says_for_how_long_it_stays(
    engine: CountingEngine, register: Register, tmp_path: Path
) -> None:
    now = 0.0
    store = AdapterStore(
        engine, AdapterFiles(lambda: engine.limits), retry_after_s=10, clock=lambda: now
    )
    version = register("legal")
    shutil.rmtree(tmp_path / "legal")
    for seconds in (0.0, 9.9):
        now = seconds
        with pytest.raises(AdapterUnavailable) as failure:
            await store.ensure(version)
        assert failure.value.retry_after_s == 10


async def test_a_version_that_names_another_artifact_has_one_failure_still(
    store: AdapterStore, register: Register, tmp_path: Path
) -> None:
    version = register("legal")
    assert version.artifact is not None
    for place in ("here", "there"):
        moved = replace(version, artifact=replace(version.artifact, uri=str(tmp_path / place)))
        with pytest.raises(AdapterUnavailable, match=place):
            await store.ensure(moved)
    assert list(store.failures) == [version.key]
    assert "there" in store.failures[version.key]


async def test_the_failures_of_versions_that_are_gone_are_dropped(
    store: AdapterStore, register: Register, tmp_path: Path
) -> None:
    legal, medical = register("legal"), register("medical")
    for folder in ("legal", "medical"):
        shutil.rmtree(tmp_path / folder)
    for version in (legal, medical):
        with pytest.raises(AdapterUnavailable):
            await store.ensure(version)
    store.forget_failures(lambda key: key == medical.key)
    assert list(store.failures) == [medical.key]


async def test_only_so_many_failures_are_remembered(
    store: AdapterStore, register: Register, tmp_path: Path
) -> None:
    version = register("legal")
    shutil.rmtree(tmp_path / "legal")
    versions = [replace(version, adapter_version=f"1.0.{n}") for n in range(MOST_FAILURES + 2)]
    for broken in versions:
        with pytest.raises(AdapterUnavailable):
            await store.ensure(broken)
    assert list(store.failures) == [broken.key for broken in versions[2:]]


async def test_an_unloaded_adapter_is_loaded_again_when_asked_for(
    store: AdapterStore, engine: CountingEngine, register: Register
) -> None:
    version = register("legal")
    await store.ensure(version)
    await store.unload(version.key)
    assert store.resident == ()
    await store.ensure(version)
    assert engine.loads == [version.key] * 2


async def test_a_preloaded_adapter_is_taken_for_the_registered_one_if_it_is_the_same(
    store: AdapterStore, engine: CountingEngine, register: Register, tmp_path: Path
) -> None:
    version = register("legal")
    await store.preload([LoraModule(name=version.key, path=tmp_path / "legal")])
    adapter = await store.ensure(version)
    assert engine.loads == [version.key]
    assert adapter.prompt_template == "Q: {prompt}"


async def test_a_preloaded_adapter_with_other_weights_makes_way_for_the_registered_one(
    store: AdapterStore, engine: CountingEngine, register: Register, tmp_path: Path
) -> None:
    version = register("legal")
    other = build_adapter(tmp_path / "other", rank=4, seed=99)
    await store.preload([LoraModule(name=version.key, path=other)])
    adapter = await store.ensure(version)
    assert adapter.path == str(tmp_path / "legal")
    assert engine.unloads == [version.key]


async def test_an_adapter_that_cannot_be_preloaded_stops_the_start(
    store: AdapterStore, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="lora_modules: legal-qa"):
        await store.preload([LoraModule(name="legal-qa-v1@1.0.0", path=tmp_path / "nowhere")])
