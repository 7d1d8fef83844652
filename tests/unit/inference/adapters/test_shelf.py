"""The folder of fetched adapters: bounded, shared, and never without what is in use."""

import os
from pathlib import Path

import pytest

from inference.adapters.shelf import Absent, Shelf, Shelved, name_of
from schemas.records import Artifact
from streams.registry.files import MissingArtifact, UnsoundArtifact

ROOM = 100
SIZE = 40


def name(number: int) -> str:
    return name_of(Artifact(f"s3://models/{number}", f"{number:064x}", SIZE))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return opened(tmp_path / "shelf")


def opened(folder: Path) -> Shelf:
    made = Shelf(folder, ROOM)
    made.open()
    return made


async def put(shelf: Shelf, number: int, *, used_at: float | None = None) -> Shelved:
    """Fetches it, in place of a download."""
    absent = await shelf.find(name(number))
    assert isinstance(absent, Absent)
    async with shelf.room(absent, {"file": SIZE}) as folder:
        (folder / "file").write_bytes(bytes(SIZE))
        shelved = shelf.keep(absent)
    if used_at is not None:
        shelved.release()
        os.utime(shelved.folder, (used_at, used_at))
    return shelved


async def has(shelf: Shelf, number: int) -> bool:
    found = await shelf.find(name(number))
    if isinstance(found, Absent):
        shelf.give_up(found)
        return False
    found.release()
    return True


async def test_the_least_recently_used_makes_room_by_its_bytes(shelf: Shelf) -> None:
    await put(shelf, 1, used_at=2)
    await put(shelf, 2, used_at=1)
    (await put(shelf, 3)).release()
    assert [await has(shelf, number) for number in (1, 2, 3)] == [True, False, True]
    assert shelf.size_bytes() == 2 * SIZE


async def test_what_is_found_again_counts_as_used(shelf: Shelf) -> None:
    await put(shelf, 1, used_at=1)
    await put(shelf, 2, used_at=2)
    assert await has(shelf, 1)
    (await put(shelf, 3)).release()
    assert [await has(shelf, number) for number in (1, 2, 3)] == [True, False, True]


async def test_what_is_in_use_stays_whoever_uses_it(shelf: Shelf, tmp_path: Path) -> None:
    await put(shelf, 1, used_at=1)
    await put(shelf, 2, used_at=2)
    in_use = await opened(tmp_path / "shelf").find(name(1))
    assert isinstance(in_use, Shelved)
    (await put(shelf, 3)).release()
    assert [await has(shelf, number) for number in (1, 2, 3)] == [True, False, True]


async def test_where_all_is_in_use_nothing_comes_in(shelf: Shelf) -> None:
    held = [await put(shelf, 1), await put(shelf, 2)]
    with pytest.raises(MissingArtifact, match="80 of the 100 that LORELAY_ADAPTER_STORE_BYTES"):
        await put(shelf, 3)
    held[0].release()
    (await put(shelf, 4)).release()
    assert not await has(shelf, 1)


async def test_what_is_on_its_way_counts(shelf: Shelf, tmp_path: Path) -> None:
    other = opened(tmp_path / "shelf")
    coming = await other.find(name(1))
    assert isinstance(coming, Absent)
    async with other.room(coming, {"file": 70}):
        with pytest.raises(MissingArtifact, match="70 of the 100"):
            await put(shelf, 2)


def test_a_folder_that_can_not_be_looked_into_holds_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Shelf(tmp_path / "file" / "shelf", ROOM).size_bytes() == 0


async def test_an_adapter_is_there_as_a_whole_or_not_at_all(shelf: Shelf, tmp_path: Path) -> None:
    absent = await shelf.find(name(1))
    assert isinstance(absent, Absent)
    with pytest.raises(RuntimeError):
        async with shelf.room(absent, {"file": SIZE}) as folder:
            (folder / "file").write_bytes(b"a part")
            raise RuntimeError
    shelf.give_up(absent)
    assert not await has(shelf, 1)
    assert shelf.size_bytes() == 0


async def test_what_is_unsound_goes_unless_another_uses_it(shelf: Shelf) -> None:
    first = await put(shelf, 1)
    second = await shelf.find(name(1))
    assert isinstance(second, Shelved)
    assert not shelf.discard(first)
    assert second.folder.is_dir()
    assert shelf.discard(second)
    assert not await has(shelf, 1)


async def test_the_leftovers_of_the_dead_are_removed_and_not_those_of_the_living(
    tmp_path: Path, shelf: Shelf
) -> None:
    living = await shelf.find(name(1))
    assert isinstance(living, Absent)
    dead = tmp_path / "shelf" / "incoming" / name(2)
    dead.mkdir()
    (dead / "file").write_bytes(b"a part")
    (tmp_path / "shelf" / "locks" / name(2)).touch()
    async with shelf.room(living, {"file": SIZE}) as folder:
        opened(tmp_path / "shelf")
        assert folder.is_dir()
    assert not dead.exists()


@pytest.mark.parametrize("sha256", ["", "../" * 21 + "a", "g" * 64, "0" * 63])
def test_only_a_digest_becomes_a_name(sha256: str) -> None:
    with pytest.raises(UnsoundArtifact, match="no sha256"):
        name_of(Artifact("s3://models/a", sha256, 1))


def test_another_uri_is_another_name_though_the_weights_are_the_same() -> None:
    one, other = (Artifact(f"s3://models/{n}", "0" * 64, 1) for n in "ab")
    assert name_of(one) != name_of(other)
