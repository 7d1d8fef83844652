"""Who makes room in the engine, and who does not."""

import asyncio
from collections.abc import Mapping

import pytest

from inference.adapters.residents import Resident, Residents, Uses
from inference.engine.protocol import LoadedAdapter


def holding(*keys: str, needs: Mapping[str, int] | None = None) -> Residents:
    residents = Residents(lambda: needs or {})
    for key in keys:
        residents.add(Resident(LoadedAdapter(key, "", 1)))
    return residents


def test_the_least_used_is_spared_first_and_among_equals_the_least_recently_used() -> None:
    residents = holding("a", "b", "c")
    assert residents.spare() == "a"
    for key in ("a", "a", "b", "c"):
        residents.get(key)
    assert residents.spare() == "b"
    assert residents.keys == ("a", "b", "c")


def test_uses_fade() -> None:
    residents = holding("a", "b")
    for key in ["a"] * 20 + ["b"] * 10:
        residents.get(key)
    assert residents.spare() == "b"
    for _ in range(4 * 512):
        residents.get("another")
    for _ in range(2):
        residents.get("b")
    assert residents.spare() == "a"


def test_uses_are_remembered_of_so_many_and_no_more() -> None:
    uses = Uses()
    for number in range(10_000):
        uses.add("often")
        uses.add(str(number))
    assert uses["often"] > 100 * uses["9999"] > 0
    assert uses["0"] == 0


def test_what_is_claimed_stays() -> None:
    residents = holding("a", "b")
    with residents.claim("a"):
        assert residents.spare() == "b"
        with residents.claim("b"):
            assert residents.spare() is None
    assert residents.spare() == "a"


def test_what_is_needed_last_goes_before_what_is_needed_sooner() -> None:
    residents = holding("a", "b", "c", needs={"a": 2, "b": 5, "c": 0})
    assert residents.spare() == "b"
    assert holding("a", "b", "c", needs={"a": 0}).spare() == "b"


def test_only_what_is_needed_later_makes_room_for_what_comes_early() -> None:
    residents = holding("a", "b", needs={"a": 1, "b": 4, "c": 3, "d": 5})
    assert residents.spare(for_one="c") == "b"
    assert residents.spare(for_one="d") is None
    assert residents.spare(for_one="nobody waits for it") is None


async def test_while_all_are_used_the_first_that_is_not_goes() -> None:
    residents = holding("a", "b")
    with residents.claim("a"):
        with residents.claim("b"):
            waiting = asyncio.create_task(residents.until_spare())
            await asyncio.sleep(0)
            assert not residents.is_free("a")
        assert await waiting == "b"
        assert residents.is_free("a")


async def test_the_least_used_takes_no_more_on_while_it_is_waited_for() -> None:
    residents = holding("a", "b")
    with residents.claim("b"):
        with residents.claim("a"):
            evicting = asyncio.create_task(residents.until_spare())
            await asyncio.sleep(0)
            coming = asyncio.create_task(residents.until_free_to_claim("a"))
            async with asyncio.timeout(60):
                await residents.until_free_to_claim("b")
            await asyncio.sleep(0)
            assert not coming.done()
        assert await evicting == "a"
        await coming


async def test_nobody_is_turned_away_once_nobody_waits_for_room() -> None:
    residents = holding("a")
    with residents.claim("a"):
        waiting = asyncio.create_task(residents.until_spare())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert residents.is_free("a")
