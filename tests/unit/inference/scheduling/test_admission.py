"""Who gets the engine's places."""

import asyncio
from contextlib import suppress

import pytest

from inference.scheduling.admission import Admission
from schemas.records import InferenceRequest, Origin, Query, Routing


def request(
    offset: int, *, adapter: str = "a", priority: int = 5, crashes: int = 0
) -> InferenceRequest:
    return InferenceRequest(
        Query(id=str(offset), prompt="x", priority=priority),
        Routing(adapter=adapter),
        Origin("q", 0, offset),
        crashes=crashes,
    )


class Runs:
    """Requests that hold their turn until they are let go."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.begun: list[int] = []
        self.overtaking: list[int] = []
        self._ends: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def add(self, *requests: InferenceRequest, has_waited: bool = False) -> None:
        for asked in requests:
            offset = asked.origin.offset
            self._ends[offset] = asyncio.Event()
            self.tasks[offset] = asyncio.create_task(self._hold(asked, has_waited))

    async def _hold(self, asked: InferenceRequest, has_waited: bool) -> None:
        async with self.admission.turn(asked, has_waited=has_waited) as overtakes:
            if overtakes:
                self.overtaking.append(asked.origin.offset)
            self.begun.append(asked.origin.offset)
            await self._ends[asked.origin.offset].wait()

    def let_go(self, offset: int) -> None:
        self._ends[offset].set()

    async def end(self, offset: int) -> None:
        self.let_go(offset)
        await self.tasks[offset]
        await settle()

    async def cancel(self, offset: int) -> None:
        self.tasks[offset].cancel()
        with suppress(asyncio.CancelledError):
            await self.tasks[offset]
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_run_as_there_are_places_and_the_next_follows() -> None:
    runs = Runs(Admission(2))
    runs.add(request(1), request(2), request(3))
    await settle()
    assert (runs.begun, runs.admission.running, runs.admission.waiting) == ([1, 2], 2, 1)
    await runs.end(1)
    assert (runs.begun, runs.admission.running, runs.admission.waiting) == ([1, 2, 3], 2, 0)


async def test_what_waits_goes_by_priority() -> None:
    runs = Runs(Admission(1))
    runs.add(request(1), request(2, priority=1), request(3, priority=9))
    await settle()
    await runs.end(1)
    await runs.end(3)
    assert runs.begun == [1, 3, 2]


async def test_one_that_gives_up_waiting_leaves_its_turn_to_others() -> None:
    runs = Runs(Admission(1))
    runs.add(request(1), request(2), request(3))
    await settle()
    await runs.cancel(2)
    await runs.end(1)
    assert runs.begun == [1, 3]


async def test_one_that_is_cancelled_in_the_moment_of_its_turn_does_not_keep_it() -> None:
    runs = Runs(Admission(1))
    runs.add(request(1), request(2), request(3))
    await settle()
    runs.tasks[1].cancel()
    await asyncio.sleep(0)
    runs.tasks[2].cancel()
    await settle()
    assert (runs.begun[-1], runs.admission.running) == (3, 1)


@pytest.mark.parametrize("crashes", [0, 1])
async def test_one_that_gives_up_in_the_moment_a_place_is_free_is_passed_over(crashes: int) -> None:
    runs = Runs(Admission(1))
    runs.add(request(1), request(2, crashes=crashes), request(3))
    await settle()
    runs.let_go(1)
    runs.tasks[2].cancel()  # which it will notice when it runs next, after the first has ended
    await settle()
    assert (runs.begun, runs.admission.running, runs.admission.waiting) == ([1, 3], 1, 0)


async def test_a_suspect_waits_until_it_is_alone_and_nobody_joins_it() -> None:
    runs = Runs(Admission(3))
    runs.add(request(1), request(2), request(3, crashes=1), request(4))
    await settle()
    # The suspect is asked for after two run: no one else begins before it.
    assert runs.begun == [1, 2]
    await runs.end(1)
    assert runs.begun == [1, 2]
    await runs.end(2)
    assert runs.begun == [1, 2, 3]
    await runs.end(3)
    assert runs.begun == [1, 2, 3, 4]


async def test_a_suspect_that_gives_up_holds_nobody() -> None:
    runs = Runs(Admission(2))
    runs.add(request(1), request(2, crashes=1), request(3))
    await settle()
    await runs.cancel(2)
    runs.add(request(4))
    await settle()
    assert sorted(runs.begun) == [1, 3]
    await runs.end(1)
    assert sorted(runs.begun) == [1, 3, 4]


async def test_while_it_is_paused_nobody_begins_and_then_all_that_fit_do() -> None:
    runs = Runs(Admission(2))
    runs.admission.pause()
    runs.add(request(1), request(2), request(3))
    await settle()
    assert runs.begun == []
    runs.admission.resume()
    await settle()
    assert runs.begun == [1, 2]


async def test_an_error_in_its_turn_gives_the_place_back() -> None:
    admission = Admission(1)
    with pytest.raises(ValueError, match="broken"):
        async with admission.turn(request(1)):
            raise ValueError("broken")
    assert admission.running == 0


async def test_there_is_room_while_half_of_the_places_are_free_and_nobody_waits() -> None:
    crowded: list[int] = []
    runs = Runs(Admission(2))
    runs.admission.listen(lambda: crowded.append(runs.admission.waiting))
    assert runs.admission.is_roomy
    runs.add(request(1))
    await settle()
    assert runs.admission.is_roomy
    runs.add(request(2))
    await settle()
    assert (runs.admission.is_roomy, crowded) == (False, [])
    runs.add(request(3))
    await settle()
    assert crowded == [1]
    for number in (1, 2, 3):
        await runs.end(number)
    runs.admission.pause()
    assert not runs.admission.is_roomy


async def test_beside_a_suspect_there_is_no_room_and_who_took_it_is_told() -> None:
    crowded: list[int] = []
    runs = Runs(Admission(4))
    runs.admission.listen(lambda: crowded.append(runs.admission.running))
    runs.add(request(1, crashes=1))
    await settle()
    assert (runs.begun, crowded, runs.admission.is_roomy) == ([1], [1], False)
    await runs.end(1)
    assert runs.admission.is_roomy


async def test_what_waits_for_a_held_adapter_gets_no_turn_but_who_has_waited_is_next() -> None:
    admission = Admission(1)
    runs = Runs(admission)
    with admission.holding("a"):
        runs.add(request(1, adapter="a"), request(2, adapter="b"))
        await settle()
        assert runs.begun == [2]
        runs.add(request(3, adapter="b"))
        runs.add(request(4, adapter="a"), has_waited=True)
        await settle()
        assert admission.waiting == 3
        await runs.end(2)
        assert runs.begun == [2, 4]
        await runs.end(4)
        assert runs.begun == [2, 4, 3]
        await runs.end(3)
        assert admission.waiting == 1
    await settle()
    assert runs.begun == [2, 4, 3, 1]


async def test_who_has_waited_and_gives_up_leaves_no_trace() -> None:
    admission = Admission(1)
    runs = Runs(admission)
    runs.add(request(1))
    await settle()
    runs.add(request(2), has_waited=True)
    await settle()
    await runs.cancel(2)
    assert admission.waiting == 0
    await runs.end(1)
    assert admission.running == 0


BACKLOG = [request(number) for number in range(1, 18)]


async def test_who_has_been_idle_joins_what_waits_in_the_engine_and_goes_before_it() -> None:
    runs = Runs(Admission(4, overtaking=2))
    runs.add(*BACKLOG)
    await settle()
    for number in (2, 3, 5):
        await runs.end(number)
    begun = list(runs.begun)
    assert runs.admission.running == 4
    runs.add(*(request(20 + n, adapter=f"idle{n}") for n in range(3)))
    await settle()
    assert runs.begun == [*begun, 20, 21]
    assert runs.overtaking[-2:] == [20, 21]
    # There is room for the third one before the backlog goes on.
    await runs.end(20)
    assert runs.begun[-1] == 22
    for number in (21, 22):
        await runs.end(number)
    assert runs.begun[-1] == 22
    await runs.end(1)
    assert runs.begun[-1] in range(1, 18)
    assert runs.overtaking[-1] == 22


async def test_a_backlog_gets_no_more_than_its_places() -> None:
    runs = Runs(Admission(2, overtaking=2))
    runs.add(*BACKLOG)
    await settle()
    running = runs.admission.running
    for number in range(1, 6):
        await runs.end(runs.begun[number - 1])
        running = min(running, runs.admission.running)
        assert runs.admission.running <= 4
    assert running == 2


async def test_nobody_overtakes_a_suspect() -> None:
    runs = Runs(Admission(1, overtaking=1))
    runs.add(request(1), request(2, crashes=1), request(3, adapter="idle"))
    await settle()
    assert runs.begun == [1]
    await runs.end(1)
    assert runs.begun == [1, 2]
    await runs.end(2)
    assert runs.begun == [1, 2, 3]


async def test_a_busy_adapter_leaves_places_free_for_others_and_these_take_them_at_once() -> None:
    runs = Runs(Admission(6, unreserved=4))
    runs.add(*BACKLOG)
    await settle()
    assert runs.begun == [1, 2, 3, 4]
    runs.add(*(request(20 + n, adapter=f"other{n}") for n in range(3)))
    await settle()
    assert runs.begun == [1, 2, 3, 4, 20, 21]
    # All are taken: the busy one begins nothing before there is one free besides.
    await runs.end(1)
    assert runs.begun[-1] == 22
    for number in (20, 21):
        await runs.end(number)
    assert runs.begun[-1] == 22
    await runs.end(22)
    assert runs.begun[-1] == 5


async def test_two_busy_adapters_leave_nothing_free() -> None:
    runs = Runs(Admission(6, unreserved=4))
    runs.add(*(request(n, adapter="ab"[n % 2]) for n in range(1, 20)))
    await settle()
    assert runs.admission.running == 6


async def test_an_adapter_that_nobody_asks_beside_has_all_places() -> None:
    runs = Runs(Admission(6, unreserved=4))
    for number in range(1, 501):
        runs.add(request(number))
        await settle()
        await runs.end(number)
    runs.add(*(request(number) for number in range(501, 520)))
    await settle()
    assert runs.admission.running == 6
    # Once somebody else has come, places are left for the next one.
    runs.add(request(600, adapter="other"))
    await settle()
    for number in (501, 502):
        await runs.end(number)
    assert runs.begun[-2:] == [507, 600]
    for number in (600, 503):
        await runs.end(number)
    assert (runs.begun[-1], runs.admission.running) == (600, 4)
    await runs.end(504)
    assert (runs.begun[-1], runs.admission.running) == (508, 4)


async def test_whoever_runs_alone_bounds_nobody_afterwards() -> None:
    runs = Runs(Admission(4, unreserved=2))
    runs.add(request(1, crashes=1), *(request(number) for number in range(2, 9)))
    await settle()
    await runs.end(1)
    for number in range(2, 9):
        await runs.end(number)
    assert sorted(runs.begun) == list(range(1, 9))
    assert (runs.admission.running, runs.admission.waiting) == (0, 0)


async def test_places_left_free_are_for_higher_priorities_of_the_busy_adapter_too() -> None:
    runs = Runs(Admission(6, unreserved=4))
    runs.add(*BACKLOG)
    await settle()
    runs.add(request(30, priority=9), request(31, adapter="other", priority=9))
    await settle()
    assert runs.begun == [1, 2, 3, 4, 30, 31]


async def test_nothing_of_a_lower_priority_takes_what_a_busy_adapter_leaves_free() -> None:
    runs = Runs(Admission(6, unreserved=4))
    runs.add(*(request(number, priority=9) for number in range(1, 18)))
    await settle()
    runs.add(request(30, adapter="other", priority=1))
    await settle()
    assert runs.begun == [1, 2, 3, 4]
    runs.add(request(31, adapter="other", priority=9))
    await settle()
    assert runs.begun == [1, 2, 3, 4, 31]
