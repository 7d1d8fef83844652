"""A second selector that nobody waits for."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.errors import ConfigurationError
from streams.router.shadow import Shadow, outcome
from streams.selection.selector import Selector
from tests.unit.streams.router.selecting import LAW, MEDICINE, Deciding
from tests.unit.streams.selection.topics import TopicEncoder

QUERIES = [f"{topic} new {number}" for topic in ("law", "medicine") for number in range(40)]
_SECONDS = 30.0


class Strange(TopicEncoder):
    """Takes the topics for others; waits and fails where it is told to."""

    def __init__(self, **taken_for: str) -> None:
        super().__init__()
        self._taken_for = taken_for
        self.go_on = Event()
        self.go_on.set()
        self.fails_on = "nothing"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.go_on.wait(_SECONDS)
        if any(self.fails_on in text for text in texts):
            raise RuntimeError("this encoder is broken")
        topics = (text.split(" ", 1) for text in texts)
        return super().encode([" ".join([self._taken_for.get(t, t), *rest]) for t, *rest in topics])


@asynccontextmanager
async def running(
    deciding: Deciding, build: Callable[[], Selector], *topics: str
) -> AsyncIterator[Shadow]:
    shadow = Shadow(build, deciding.knowledge, deciding.metrics.selection)
    await deciding.know(*topics)
    await shadow.start()
    try:
        yield shadow
    finally:
        await shadow.stop()


def counted(deciding: Deciding, outcome: str, *adapters: str) -> int:
    name = "lorelay_router_shadow_queries_total"
    of = adapters or (LAW, MEDICINE, "base", "other")
    return int(sum(deciding.value(name, adapter=a, outcome=outcome) for a in of))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_SECONDS):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


@pytest.fixture
def deciding() -> Deciding:
    return Deciding()


@pytest.mark.parametrize(
    ("live", "shadow", "expected"),
    [
        (LAW, LAW, "same"),
        (None, None, "same"),
        (LAW, MEDICINE, "other_adapter"),
        (LAW, None, "shadow_rejects"),
        (None, LAW, "shadow_accepts"),
    ],
)
def test_two_choices_agree_or_differ_in_one_of_three_ways(
    live: str | None, shadow: str | None, expected: str
) -> None:
    assert outcome(live, shadow) == expected


async def test_the_same_selector_decides_the_same(deciding: Deciding) -> None:
    async with running(deciding, lambda: Selector(TopicEncoder()), "law", "medicine") as shadow:
        shadow.offer(deciding.decided([*QUERIES, "cooking 1"]))
        await until(lambda: counted(deciding, "same") == len(QUERIES) + 1)


async def test_differences_count_by_the_adapter_that_was_chosen(
    deciding: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="streams.router.shadow")
    confused = Strange(medicine="law", cooking="medicine")
    async with running(deciding, lambda: Selector(confused), "law", "medicine") as shadow:
        selections = deciding.decided([*QUERIES, *(f"cooking {n}" for n in range(40))])
        shadow.offer(selections)
        await until(lambda: sum(_all(deciding).values()) == len(selections))
    found = _all(deciding)
    assert found["same"] < 120
    assert found["dropped"] == found["failed"] == 0
    differing = len(selections) - found["same"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == differing > 0
    assert all(line.startswith("queries-0-") and "new" not in line for line in lines)


async def test_a_stricter_selector_rejects_more(deciding: Deciding) -> None:
    def strict() -> Selector:
        return Selector(TopicEncoder(), false_reject=0.5)

    async with running(deciding, strict, "law", "medicine") as shadow:
        shadow.offer(deciding.decided(QUERIES))
        await until(lambda: sum(_all(deciding).values()) == len(QUERIES))
    assert counted(deciding, "shadow_rejects", LAW, MEDICINE) > len(QUERIES) // 5
    assert counted(deciding, "shadow_accepts") == counted(deciding, "other_adapter") == 0


async def test_nobody_waits_for_a_selector_that_hangs(deciding: Deciding) -> None:
    hanging = Strange()
    async with running(deciding, lambda: Selector(hanging), "law", "medicine") as shadow:
        selections = deciding.decided(QUERIES)
        shadow.offer(selections)
        await until(lambda: counted(deciding, "same") == len(QUERIES))
        hanging.go_on.clear()
        for _ in range(50):
            shadow.offer(selections)
        dropped = counted(deciding, "dropped")
        assert dropped >= 30 * len(QUERIES)
        hanging.go_on.set()
        await until(lambda: counted(deciding, "same") == 51 * len(QUERIES) - dropped)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_it_gives_way_to_the_deciding_one(deciding: Deciding) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    async with running(deciding, lambda: Selector(TopicEncoder()), "law") as shadow:
        shadow.offer(deciding.decided(["law new"]))
        await until(lambda: counted(deciding, "same") == 1)
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "shadow")
        assert os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) == 19
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


async def test_a_selector_that_fails_is_counted_and_reported_once(
    deciding: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Strange()
    broken.fails_on = "broken"
    async with running(deciding, lambda: Selector(broken), "law", "medicine") as shadow:
        for _ in range(3):
            shadow.offer(deciding.decided(["law broken", "law 1"]))
        shadow.offer(deciding.decided(["law 1"]))
        await until(lambda: counted(deciding, "same") == 1)
    assert counted(deciding, "failed") == 6
    (record,) = caplog.records
    assert "this encoder is broken" in record.getMessage()
    assert record.exc_info


async def test_a_selector_that_is_not_to_be_had_is_a_sentence_in_the_log(
    deciding: Deciding, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> Selector:
        raise ConfigurationError("No encoder 'none-such' can be loaded: use another one.")

    async with running(deciding, missing, "law") as shadow:
        shadow.offer(deciding.decided(QUERIES))
        await until(lambda: counted(deciding, "failed") == len(QUERIES))
    (record,) = caplog.records
    assert "No encoder 'none-such' can be loaded" in record.getMessage()
    assert not record.exc_info


async def test_it_learns_and_forgets_as_the_deciding_one_does(deciding: Deciding) -> None:
    learning = Strange()
    async with running(deciding, lambda: Selector(learning), "law") as shadow:
        shadow.offer(deciding.decided(["law new"]))
        await until(lambda: counted(deciding, "same", LAW) == 1)
        await deciding.know("medicine")
        shadow.offer(deciding.decided(["medicine new"]))
        await until(lambda: counted(deciding, "same", MEDICINE) == 1)
        await deciding.retire(LAW)
        shadow.offer(deciding.decided(["law new"]))
        await until(lambda: counted(deciding, "same", "base") == 1)
    assert counted(deciding, "dropped") == 0


async def test_what_it_has_yet_to_learn_is_not_compared(deciding: Deciding) -> None:
    unlearning = Strange()
    unlearning.fails_on = "medicine"
    async with running(deciding, lambda: Selector(unlearning), "law") as shadow:
        await deciding.know("medicine")
        shadow.offer(deciding.decided(["law new"]))
        await until(lambda: sum(_all(deciding).values()) == 1)
        shadow.offer(deciding.decided(["law new"]))
        await until(lambda: counted(deciding, "dropped") >= 1)
    assert counted(deciding, "same") == 0


def _all(deciding: Deciding) -> dict[str, int]:
    kinds = ("same", "other_adapter", "shadow_rejects", "shadow_accepts", "dropped", "failed")
    return {kind: counted(deciding, kind) for kind in kinds}
