"""What the router selects by follows the registry."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.records import AdapterVersion
from streams.registry.examples import record_key, split
from streams.registry.reader import Registry
from streams.router.knowledge import Knowledge
from streams.selection.encoder_cache import EncoderCache
from streams.selection.selector import Selector
from tests.unit.streams.registry.factories import version
from tests.unit.streams.selection.topics import TopicEncoder, examples


class WatchedEncoder(TopicEncoder):
    """Remembers what could be selected while each of its batches was encoded."""

    selector: Selector | None = None

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, ...]] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.selector is not None:
            self.seen.append(self.selector.adapters)
        return super().encode(texts)


class World:
    """A registry, and a router's knowledge of it."""

    def __init__(self, executor: ThreadPoolExecutor, portion_seconds: float = 60.0) -> None:
        self.registry = Registry()
        self.encoder = WatchedEncoder()
        self.selector = Selector(self.encoder)
        self.encoder.selector = self.selector
        self.counted: list[tuple[int, int]] = []
        cache = EncoderCache(self.encoder, 100, lambda *counts: self.counted.append(counts))
        self.knowledge = Knowledge(self.selector, self.registry, executor, cache, portion_seconds)

    def apply(self, adapter_id: str, number: str = "1.0.0", status: str = "active") -> None:
        entry: AdapterVersion = version(adapter_id, number, status=status, example_parts=1)
        self.registry.apply_version(entry.key, entry, self.registry.revision + 1)
        for part in split(entry, tuple(examples(entry.domain, 30))):
            self.registry.apply_examples(record_key(part), part)


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(1) as executor:
        yield World(executor)


async def test_it_learns_what_is_selectable_and_tells_how_far_it_is(world: World) -> None:
    for topic in ("law-v1", "music-v1", "medicine-v1"):
        world.apply(topic)
    told: list[str] = []
    await world.knowledge.refresh(told.append)
    assert world.selector.adapters == ("law-v1@1.0.0", "medicine-v1@1.0.0", "music-v1@1.0.0")
    assert world.knowledge.adapters == 3
    assert told == [
        "learning adapters: 0 % of 3",
        "learning adapters: 33 % of 3",
        "learning adapters: 66 % of 3",
        "learning to tell 3 adapters apart",
    ]


async def test_while_nothing_is_selected_yet_all_are_learnt_at_once() -> None:
    with ThreadPoolExecutor(1) as executor:
        world = World(executor, portion_seconds=0.0)
        for number in range(8):
            world.apply(f"topic{number}-v1")
        await world.knowledge.refresh(lambda _: None)
    assert len(world.selector.adapters) == 8
    assert set(world.encoder.seen) == {()}


async def test_beside_traffic_the_first_needn_t_wait_for_the_last() -> None:
    with ThreadPoolExecutor(1) as executor:
        world = World(executor, portion_seconds=0.0)
        for number in range(2):
            world.apply(f"topic{number}-v1")
        await world.knowledge.refresh()
    assert {len(adapters) for adapters in world.encoder.seen} == {0, 1}


async def test_a_version_is_selected_until_the_next_one_of_its_family_is_learnt(
    world: World,
) -> None:
    world.apply("law-v1", "1.0.0")
    world.apply("music-v1", "1.0.0")
    await world.knowledge.refresh()
    world.encoder.seen.clear()
    world.apply("law-v1", "1.1.0")
    await world.knowledge.refresh()
    assert set(world.encoder.seen) == {("law-v1@1.0.0", "music-v1@1.0.0")}
    assert world.selector.adapters == ("law-v1@1.1.0", "music-v1@1.0.0")


async def test_a_retired_version_goes_before_the_next_one_is_learnt(world: World) -> None:
    world.apply("law-v1", "1.0.0")
    await world.knowledge.refresh()
    world.encoder.seen.clear()
    world.apply("law-v1", "1.1.0")
    world.apply("law-v1", "1.0.0", status="retired")
    await world.knowledge.refresh()
    assert set(world.encoder.seen) == {()}
    assert world.selector.adapters == ("law-v1@1.1.0",)


async def test_what_is_no_longer_selectable_is_forgotten(world: World) -> None:
    world.apply("law-v1")
    world.apply("music-v1")
    await world.knowledge.refresh()
    world.apply("law-v1", status="retired")
    world.registry.apply_version("music-v1@1.0.0", None, 9)
    await world.knowledge.refresh()
    assert world.selector.adapters == ()
    assert world.knowledge.adapters == 0


async def test_only_queries_go_through_the_encoder_for_queries(world: World) -> None:
    world.apply("law-v1")
    await world.knowledge.refresh()
    assert world.counted == []
    (decision,) = world.knowledge.select(["law new"], ["en"])
    world.knowledge.select(["law new"], ["en"])
    assert decision.adapter == "law-v1@1.0.0"
    assert world.counted == [(0, 1), (1, 0)]
