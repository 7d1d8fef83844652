"""Places in a batch."""

import asyncio
from contextlib import AsyncExitStack
from time import monotonic

from inference.engine.slots import Slots


async def test_the_waiting_go_by_rank_and_then_by_arrival() -> None:
    slots, served = Slots(1), []

    async def request(name: str, rank: int) -> None:
        async with slots.hold(rank):
            served.append(name)

    async with AsyncExitStack() as busy:
        await busy.enter_async_context(slots.hold(5))
        tasks = []
        for name, rank in [("late", 9), ("first", 5), ("second", 5), ("urgent", 1)]:
            tasks.append(asyncio.create_task(request(name, rank)))
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert served == ["urgent", "first", "second", "late"]


async def test_no_more_than_all_places_are_held_at_once() -> None:
    slots, held, most = Slots(3), 0, 0

    async def request() -> None:
        nonlocal held, most
        async with slots.hold(5):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert most == 3


async def test_a_cancelled_wait_takes_no_place() -> None:
    slots = Slots(1)
    async with slots.hold(5):
        waiting = asyncio.create_task(_hold(slots))
        await asyncio.sleep(0)
        waiting.cancel()
    async with asyncio.timeout(1):
        await _hold(slots)


async def test_a_place_handed_to_a_task_that_is_cancelled_is_not_lost() -> None:
    slots = Slots(1)
    async with slots.hold(5):
        waiting = asyncio.create_task(_hold(slots))
        await asyncio.sleep(0)
    # The place has been handed over, but the task has not run since.
    waiting.cancel()
    async with asyncio.timeout(1):
        await _hold(slots)


async def test_who_waits_begins_when_the_place_is_free_though_nobody_looks_then() -> None:
    slots, begun = Slots(1), []

    async def request() -> None:
        async with slots.hold(5) as place:
            begun.append(place.begun)

    async with slots.hold(5) as place:
        waiting = asyncio.create_task(request())
        await asyncio.sleep(0)
        place.ends = ends = monotonic()
        await asyncio.sleep(0.01)
    await waiting
    assert begun == [ends]


async def test_who_comes_later_begins_when_it_comes() -> None:
    slots = Slots(1)
    async with slots.hold(5) as place:
        place.ends = monotonic()
    came = monotonic()
    async with slots.hold(5) as place:
        assert place.begun >= came


async def _hold(slots: Slots) -> None:
    async with slots.hold(5):
        pass
