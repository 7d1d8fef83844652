"""Adapters that are ready before the turn of those who wait for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.adapters.files import AdapterFiles
from inference.adapters.prefetch import Plan, Prefetcher, plan
from inference.adapters.residents import Resident
from inference.adapters.store import AdapterStore
from inference.engine.echo import EchoEngine
from inference.engine.protocol import EngineLimits, LoadedAdapter
from schemas.errors import AdapterUnavailable, EngineCrashed, EngineUnavailable
from schemas.records import AdapterVersion, BaseModel

PLACES = 2
keys = st.lists(st.sampled_from("abcdefgh"), unique=True)


def test_what_comes_first_is_loaded_and_what_comes_next_is_fetched() -> None:
    sizes = dict.fromkeys("abcd", 10)
    found = plan(["a", "b", "a", "c", "d"], [], {"b"}, 2, sizes, 1000)
    assert found == Plan(load=("a",), fetch=("c", "d"))


def test_no_more_is_fetched_than_the_disk_has_room_for() -> None:
    sizes = {"a": 10, "b": 10, "c": 10, "d": 1}
    assert plan("abcd", [], (), 1, sizes, 25).fetch == ("b",)


def test_what_lies_on_this_host_is_not_fetched() -> None:
    assert plan("abc", [], (), 1, {"c": 5}, 25).fetch == ("c",)


def test_free_places_are_for_what_was_used_lately() -> None:
    assert plan(["a"], ["b", "c", "d"], {"b"}, 3, {}, 0) == Plan(load=("a", "c"), fetch=())
    assert plan("abc", ["d"], (), 3, {}, 0).load == ("a", "b", "c")


@given(keys, keys, st.sets(st.sampled_from("abcdefgh")), st.integers(0, 9), st.integers(0, 100))
def test_a_plan_names_nothing_twice_and_no_more_than_there_are_places(
    upcoming: list[str], recent: list[str], resident: set[str], places: int, max_bytes: int
) -> None:
    found = plan(upcoming, recent, resident, places, dict.fromkeys("abcdefgh", 10), max_bytes)
    named = (*found.load, *found.fetch)
    assert len(set(named)) == len(named)
    assert len(found.load) <= places
    assert not resident & set(named)
    assert 10 * len(found.fetch) <= max_bytes


class StubFiles(AdapterFiles):
    """Files that are ready when the test says so; nothing lies on a disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda: LIMITS)
        self._folder = folder
        self.ready_now = asyncio.Event()
        self.asked: list[str] = []
        self.fetched: list[str] = []
        self.failing: set[str] = set()

    async def ready(self, version: AdapterVersion) -> Resident:
        self.asked.append(version.key)
        await self.ready_now.wait()
        if version.key in self.failing:
            raise AdapterUnavailable(version.key, "the test says so.")
        return Resident(LoadedAdapter(version.key, str(self._folder), 4))

    async def fetch(self, version: AdapterVersion) -> None:
        self.fetched.append(version.key)

    def size_elsewhere(self, version: AdapterVersion) -> int:
        return 10


LIMITS = EngineLimits(BaseModel("tiny"), 128, 4, PLACES, PLACES, 16)


class Waiting:
    """What waits, and a prefetcher that follows it."""

    def __init__(self, folder: Path, engine: EchoEngine) -> None:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / name).touch()
        self.upcoming: list[str] = []
        self.files = StubFiles(folder)
        self.store = AdapterStore(
            engine,
            self.files,
            needs=lambda: {key: turn for turn, key in enumerate(self.upcoming)},
        )
        self.prefetcher = Prefetcher(
            self.store,
            self.files,
            upcoming=lambda: self.upcoming,
            version=version,
            places=PLACES,
            most_at_once=3,
            max_bytes=1000,
        )

    def add(self, *names: str) -> None:
        for name in names:
            self.upcoming.append(name)
            self.prefetcher.wants(name)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - polled as all tests do
                await asyncio.sleep(0.001)


def version(key: str) -> AdapterVersion:
    return AdapterVersion(
        adapter_id=key.partition("@")[0],
        adapter_version="1.0.0",
        family="f",
        domain="d",
        task_type="t",
        base_model=BaseModel("tiny"),
    )


def key(name: str) -> str:
    return f"{name}@1.0.0"


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Waiting]:
    engine = EchoEngine(LIMITS)
    await engine.start()
    made = Waiting(tmp_path, engine)
    running = asyncio.create_task(made.prefetcher.run())
    yield made
    running.cancel()
    await asyncio.wait([running])


async def test_what_waits_is_loaded_before_anybody_asks(waiting: Waiting) -> None:
    waiting.files.ready_now.set()
    waiting.add(key("a"), key("b"))
    await waiting.until(lambda: set(waiting.store.resident) == {key("a"), key("b")})


async def test_so_much_is_under_way_at_once_and_no_more(waiting: Waiting) -> None:
    waiting.add(*(key(name) for name in "abcdef"))
    await waiting.until(lambda: len(waiting.files.asked) + len(waiting.files.fetched) >= 3)
    waiting.files.ready_now.set()
    await waiting.until(lambda: set(waiting.files.fetched) == {key(name) for name in "cdef"})
    assert set(waiting.store.resident) == {key("a"), key("b")}


async def test_what_is_needed_sooner_is_not_pushed_out(waiting: Waiting) -> None:
    waiting.files.ready_now.set()
    waiting.add(key("a"), key("b"))
    await waiting.until(lambda: len(waiting.store.resident) == PLACES)
    waiting.add(key("c"))
    await waiting.until(lambda: waiting.files.fetched == [key("c")])
    assert set(waiting.store.resident) == {key("a"), key("b")}
    waiting.upcoming.remove(key("a"))
    waiting.prefetcher.look()
    await waiting.until(lambda: set(waiting.store.resident) == {key("b"), key("c")})


async def test_what_is_in_use_is_not_pushed_out(waiting: Waiting) -> None:
    waiting.files.ready_now.set()
    async with waiting.store.using(version(key("a"))), waiting.store.using(version(key("b"))):
        waiting.add(key("c"))
        await waiting.until(lambda: waiting.files.fetched == [key("c")])
        assert set(waiting.store.resident) == {key("a"), key("b")}


async def test_whoever_asks_in_earnest_takes_an_early_load_over(waiting: Waiting) -> None:
    waiting.add(key("a"))
    await waiting.until(lambda: waiting.files.asked == [key("a")])
    asking = asyncio.create_task(waiting.store.ensure(version(key("a"))))
    await asyncio.sleep(0)
    waiting.files.ready_now.set()
    assert (await asking).key == key("a")
    assert waiting.files.asked == [key("a")]


@pytest.mark.timeout(20)
async def test_whoever_asks_in_the_moment_an_early_load_gives_up_loads_by_themselves(
    waiting: Waiting,
) -> None:
    waiting.files.ready_now.set()
    waiting.add(key("a"), key("b"))
    await waiting.until(lambda: len(waiting.store.resident) == PLACES)
    waiting.files.ready_now.clear()
    early = asyncio.create_task(waiting.store.load_early(version(key("c"))))
    await waiting.until(lambda: key("c") in waiting.files.asked)
    # The load finds no place in the very step before the one in which it is asked for.
    waiting.files.ready_now.set()
    asking = asyncio.create_task(waiting.store.ensure(version(key("c"))))
    assert (await asking).key == key("c")
    await early


async def test_a_new_engine_gets_what_was_used_lately(waiting: Waiting) -> None:
    waiting.files.ready_now.set()
    waiting.add(key("a"), key("b"))
    await waiting.until(lambda: len(waiting.store.resident) == PLACES)
    waiting.upcoming.clear()
    waiting.store.forget()
    waiting.prefetcher.look()
    await waiting.until(lambda: set(waiting.store.resident) == {key("a"), key("b")})


class AwayEngine(EchoEngine):
    """Knows no limits while it is not running, as vLLM does not."""

    @property
    def limits(self) -> EngineLimits:
        if self.is_away:
            raise EngineUnavailable("It is not running.")
        return super().limits

    is_away = False


async def test_what_comes_while_the_engine_is_away_is_loaded_once_it_is_back(
    tmp_path: Path,
) -> None:
    engine = AwayEngine(LIMITS)
    await engine.start()
    waiting = Waiting(tmp_path, engine)
    waiting.files.ready_now.set()
    running = asyncio.create_task(waiting.prefetcher.run())
    engine.is_away = True
    waiting.add(key("a"))
    await asyncio.sleep(0.05)
    assert not running.done()
    engine.is_away = False
    waiting.prefetcher.look()
    await waiting.until(lambda: waiting.store.resident == (key("a"),))
    running.cancel()
    await asyncio.wait([running])


async def test_what_can_not_be_loaded_is_not_tried_over_and_over(waiting: Waiting) -> None:
    waiting.files.failing.add(key("a"))
    waiting.files.ready_now.set()
    waiting.add(key("a"), key("b"))
    await waiting.until(lambda: waiting.store.resident == (key("b"),))
    waiting.add(key("c"))
    await waiting.until(lambda: waiting.files.fetched == [key("c")])
    assert waiting.files.asked.count(key("a")) == 1
    assert key("a") in waiting.store.failures


class DyingEngine(EchoEngine):
    """Dies of loading an adapter."""

    async def load(self, adapter: LoadedAdapter) -> None:
        raise EngineCrashed("The engine died.")


async def test_an_adapter_that_the_engine_dies_of_is_left_to_its_requests(tmp_path: Path) -> None:
    engine = DyingEngine(LIMITS)
    await engine.start()
    waiting = Waiting(tmp_path, engine)
    waiting.files.ready_now.set()
    running = asyncio.create_task(waiting.prefetcher.run())
    waiting.add(key("a"), key("b"))
    await waiting.until(lambda: len(waiting.files.asked) == PLACES)
    waiting.add(key("c"))
    await waiting.until(lambda: key("c") in waiting.files.asked)
    assert sorted(waiting.files.asked) == [key("a"), key("b"), key("c")]
    running.cancel()
    await asyncio.wait([running])
