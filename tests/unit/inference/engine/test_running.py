"""Running requests: ending them from outside, and what they hold."""

import asyncio

import pytest

from inference.engine.protocol import EngineLimits, Generation, LoadedAdapter
from inference.engine.running import Running, check_loadable
from schemas.errors import AdapterUnavailable, Cancelled, EngineUnavailable, InternalError
from schemas.records import BaseModel

ADAPTER = LoadedAdapter("legal-qa-v1@1.0.0", "/nowhere", 8)


async def serve(running: Running, wait: asyncio.Event, generation: Generation) -> str:
    with running.track(generation) as request:
        with request.interruptible():
            await wait.wait()
        return "served"


async def test_an_abort_interrupts_the_wait_with_cancelled() -> None:
    running = Running()
    task = asyncio.create_task(serve(running, asyncio.Event(), Generation("a", "x")))
    await asyncio.sleep(0)
    running.abort("a")
    with pytest.raises(Cancelled):
        await task
    assert len(running) == 0
    assert task.cancelling() == 0


async def test_an_abort_between_two_waits_shows_at_the_next() -> None:
    running, wait = Running(), asyncio.Event()
    wait.set()
    with running.track(Generation("a", "x")) as request:
        with request.interruptible():
            await wait.wait()
        running.abort("a")
        await asyncio.sleep(0)
        with pytest.raises(Cancelled), request.interruptible():
            pytest.fail("must not be entered")


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    running = Running()
    task = asyncio.create_task(serve(running, asyncio.Event(), Generation("a", "x")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(running) == 0


async def test_a_cancellation_that_comes_with_an_abort_wins() -> None:
    running = Running()
    task = asyncio.create_task(serve(running, asyncio.Event(), Generation("a", "x")))
    await asyncio.sleep(0)
    running.abort("a")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_all_are_ended_with_one_reason() -> None:
    running = Running()
    tasks = [
        asyncio.create_task(serve(running, asyncio.Event(), Generation(name, "x")))
        for name in "abc"
    ]
    await asyncio.sleep(0)
    running.end_all(EngineUnavailable("stopped"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [EngineUnavailable] * 3


async def test_what_is_being_loaded_ends_with_them_and_lets_the_next_one_in() -> None:
    running = Running()

    async def load() -> None:
        async with running.changing(ADAPTER.key) as change:
            with change.interruptible():
                await asyncio.Event().wait()

    task = asyncio.create_task(load())
    await asyncio.sleep(0)
    running.end_all(EngineUnavailable("stopped"))
    with pytest.raises(EngineUnavailable):
        await task
    async with asyncio.timeout(5), running.changing(ADAPTER.key) as change:
        change.check()


async def test_an_id_that_runs_is_refused() -> None:
    running = Running()
    with (
        running.track(Generation("a", "x")),
        pytest.raises(InternalError),
        running.track(Generation("a", "x")),
    ):
        pytest.fail("must not be entered")


async def test_a_retired_adapter_is_waited_for() -> None:
    running, wait = Running(), asyncio.Event()
    running.admit(ADAPTER)
    using = asyncio.create_task(serve(running, wait, Generation("a", "x", adapter=ADAPTER)))
    await asyncio.sleep(0)
    retiring = asyncio.create_task(running.retire(ADAPTER.key))
    await asyncio.sleep(0)
    assert not retiring.done()
    with pytest.raises(AdapterUnavailable):
        await serve(running, wait, Generation("b", "x", adapter=ADAPTER))
    wait.set()
    assert await using == "served"
    assert await retiring


async def test_retiring_what_is_not_loaded_says_so() -> None:
    assert not await Running().retire("nothing@1.0.0")


@pytest.mark.parametrize(
    ("max_cpu_loras", "max_rank", "loaded", "problem"),
    [(0, 16, 0, "without LoRA"), (4, 4, 0, "max_lora_rank"), (4, 16, 4, "max_cpu_loras")],
)
def test_what_does_not_fit_is_refused(
    max_cpu_loras: int, max_rank: int, loaded: int, problem: str
) -> None:
    limits = EngineLimits(BaseModel("tiny"), 128, 4, 2, max_cpu_loras, max_rank)
    with pytest.raises(AdapterUnavailable, match=problem):
        check_loadable(ADAPTER, limits, loaded)
