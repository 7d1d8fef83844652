"""An encoder's weights, unpacked once."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import ConfigurationError
from streams.selection.weights import load_unpacked
from streams.user_cache import user_cache

TABLE = np.arange(64_000, dtype=np.uint8).reshape(-1, 64)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    file = tmp_path / "weights.npz"
    np.savez_compressed(file, table=TABLE, scale=np.float32(0.5))
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "lorelay" / "encoders"


def load(file: Path) -> tuple[Path, list[object]]:
    with np.load(file) as arrays:
        return file, [arrays["table"].tolist(), float(arrays["scale"])]


def test_the_second_load_is_of_the_copy_too_and_gives_the_same(packed: Path, cache: Path) -> None:
    found = set()
    for _ in range(2):
        file, weights = load_unpacked(packed, load)
        assert weights == [TABLE.tolist(), 0.5]
        assert [file] == list(cache.iterdir())
        assert file.stat().st_size > TABLE.nbytes > packed.stat().st_size
        found.add(file.stat().st_ino)
    assert len(found) == 1


def test_other_weights_get_a_copy_of_their_own(packed: Path, cache: Path) -> None:
    load_unpacked(packed, load)
    np.savez_compressed(packed, table=TABLE[::-1], scale=np.float32(0.5))
    assert load_unpacked(packed, load)[1] == [TABLE[::-1].tolist(), 0.5]
    assert len(list(cache.iterdir())) == 2


def damaged(copy: bytes) -> list[bytes]:
    middle = len(copy) // 2
    return [b"", copy[:middle], copy[:middle] + b"\xff" * 9 + copy[middle + 9 :]]


def test_a_copy_of_other_weights_is_made_anew(packed: Path, cache: Path) -> None:
    copy, weights = load_unpacked(packed, load)
    np.savez(copy, table=TABLE + 1, scale=np.float32(0.5))
    assert load_unpacked(packed, load) == (copy, weights)


def test_a_pipe_in_the_place_of_the_copy_holds_up_nobody(packed: Path, cache: Path) -> None:
    copy, weights = load_unpacked(packed, load)
    copy.unlink()
    os.mkfifo(copy)
    assert load_unpacked(packed, load) == (copy, weights)


def test_what_a_killed_one_left_behind_is_removed(packed: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    for age in (10, 10_000):
        left = cache / f"{age}.part"
        left.touch()
        os.utime(left, times=(time.time() - age,) * 2)
    copy, _ = load_unpacked(packed, load)
    assert set(cache.iterdir()) == {copy, cache / "10.part"}


def test_a_relative_cache_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache("encoders") == tmp_path / ".cache" / "lorelay" / "encoders"


@pytest.mark.parametrize("damage", range(3))
def test_a_damaged_copy_is_made_anew(packed: Path, cache: Path, damage: int) -> None:
    copy, weights = load_unpacked(packed, load)
    whole = copy.read_bytes()
    copy.write_bytes(damaged(whole)[damage])
    assert load_unpacked(packed, load) == (copy, weights)
    assert copy.read_bytes() == whole


def test_where_no_copy_can_be_kept_the_weights_are_loaded_as_they_are(
    packed: Path, cache: Path
) -> None:
    cache.parent.parent.write_text("a file where the folder would be")
    assert load_unpacked(packed, load) == (packed, [TABLE.tolist(), 0.5])


def test_without_a_home_folder_they_are_loaded_as_they_are(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert load_unpacked(packed, load)[0] == packed
    with pytest.raises(ConfigurationError, match="set XDG_CACHE_HOME"):
        user_cache("adapters")


def test_a_disk_that_is_full_leaves_no_half_copy(
    packed: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "savez", full)
    assert load_unpacked(packed, load)[0] == packed
    assert not list(cache.iterdir())
