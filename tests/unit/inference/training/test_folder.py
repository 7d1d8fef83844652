import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from inference.training.folder import FolderKept, check_free, complete_folder, write_folder
from schemas.errors import ConfigurationError, LorelayError

FailRenames = Callable[[int, Callable[[Path, Path], bool]], None]


@pytest.fixture
def fail_renames(monkeypatch: pytest.MonkeyPatch) -> FailRenames:
    """Let the renames (from, to) that a test chooses fail with an errno, as the kernel would."""
    real = Path.rename

    def fail(code: int, chosen: Callable[[Path, Path], bool]) -> None:
        def rename(source: Path, target: Path) -> Path:
            if chosen(source, Path(target)):
                raise OSError(code, os.strerror(code))
            return real(source, target)

        monkeypatch.setattr(Path, "rename", rename)

    return fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def filled(folder: Path) -> Path:
    folder.mkdir()
    (folder / "old").write_text("old")
    return folder


def write_one(folder: Path) -> None:
    (folder / "new").write_text("new")


def test_the_folder_appears_whole_and_readable_by_all(tmp_path: Path) -> None:
    with complete_folder(tmp_path / "new" / "out") as folder:
        (folder / "weights").write_text("w")
        (folder / "weights").chmod(0o600)
        assert not (tmp_path / "new" / "out").exists()
    assert (tmp_path / "new" / "out" / "weights").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_nothing_is_left_of_a_folder_whose_writing_failed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    with (
        pytest.raises(RuntimeError, match="disk"),
        complete_folder(tmp_path / "out", force=True) as folder,
    ):
        (folder / "new").write_text("new")
        raise RuntimeError("disk")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_what_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    check_free(tmp_path / "out", force=False)
    (tmp_path / "out" / "old").write_text("old")
    with pytest.raises(ConfigurationError, match="--force"):
        check_free(tmp_path / "out", force=False)
    with complete_folder(tmp_path / "out", force=True) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_a_file_in_the_folders_place_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigurationError, match="is a file"):
        check_free(tmp_path / "out", force=True)


def test_a_place_that_cannot_be_written_is_found_out_before_anything_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    for out in (tmp_path / "file" / "out", tmp_path / "file" / "a" / "out", tmp_path / ("n" * 300)):
        with pytest.raises(ConfigurationError, match="name another folder with --out"):
            check_free(out, force=False)
    assert names(tmp_path) == ["file"]


def test_a_parent_that_cannot_be_renamed_in_is_found_out_before_anything_is_written(
    tmp_path: Path, fail_renames: FailRenames
) -> None:
    fail_renames(errno.EPERM, lambda source, target: True)
    with pytest.raises(ConfigurationError, match="not permitted"):
        check_free(tmp_path / "out", force=False)
    assert names(tmp_path) == []


def test_finding_out_leaves_everything_as_it_was(tmp_path: Path) -> None:
    filled(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
    check_free(tmp_path / "full", force=True)
    check_free(tmp_path / "empty", force=False)
    check_free(tmp_path / "new", force=False)
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before


def test_an_empty_mounted_folder_is_filled_in_place(
    tmp_path: Path, fail_renames: FailRenames
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    inode = out.stat().st_ino
    fail_renames(errno.EBUSY, lambda source, target: out in (source, target))
    check_free(out, force=False)
    with complete_folder(out) as folder:
        write_one(folder)
        assert not (out / "new").exists()
    assert (names(tmp_path), names(out), out.stat().st_ino) == (["out"], ["new"], inode)


def test_a_full_mounted_folder_is_refused_before_anything_is_written(
    tmp_path: Path, fail_renames: FailRenames
) -> None:
    out = filled(tmp_path / "out")
    fail_renames(errno.EBUSY, lambda source, target: out in (source, target))
    with pytest.raises(ConfigurationError, match="name a folder in it"):
        check_free(out, force=True)
    assert (names(tmp_path), names(out)) == (["out"], ["old"])


def test_a_folder_filled_in_place_that_fails_halfway_is_emptied_and_the_files_are_kept(
    tmp_path: Path, fail_renames: FailRenames
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    fail_renames(
        errno.EBUSY, lambda source, target: out in (source, target) or target == out / "second"
    )
    with pytest.raises(FolderKept) as caught, complete_folder(out) as folder:
        (folder / "first").write_text("1")
        (folder / "second").write_text("2")
    (kept,) = out.iterdir()
    assert str(kept) in str(caught.value)
    assert names(kept) == ["first", "second"]


def test_the_old_folder_is_put_back_and_the_new_one_kept_where_it_cannot_take_its_place(
    tmp_path: Path, fail_renames: FailRenames
) -> None:
    out = filled(tmp_path / "out")
    fail_renames(errno.EIO, lambda source, target: (source / "new").exists() and target == out)
    with (
        pytest.raises(FolderKept, match="could not be written") as caught,
        complete_folder(out, force=True) as folder,
    ):
        write_one(folder)
    assert names(out) == ["old"]
    (kept,) = (path for path in tmp_path.iterdir() if path != out)
    assert names(kept) == ["new"]
    assert f"from {kept}." in str(caught.value)


def test_the_old_folder_is_named_where_it_cannot_be_put_back_either(
    tmp_path: Path, fail_renames: FailRenames
) -> None:
    out = filled(tmp_path / "out")
    fail_renames(errno.EIO, lambda source, target: target == out)
    with pytest.raises(FolderKept) as caught, complete_folder(out, force=True) as folder:
        write_one(folder)
    old, new = sorted(tmp_path.iterdir(), key=lambda path: names(path) != ["old"])
    assert (names(old), names(new)) == (["old"], ["new"])
    assert str(new) in str(caught.value)
    assert f"what it held before is in {old}." in str(caught.value)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    filled(tmp_path / "folder")
    (tmp_path / "out").symlink_to("folder")
    with complete_folder(tmp_path / "out", force=True) as folder:
        write_one(folder)
    assert (names(tmp_path), names(tmp_path / "folder")) == (["folder", "out"], ["new"])
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "disk full"), SafetensorError("disk full")]
)
def test_what_cannot_be_written_beside_its_place_is_written_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    volume, temporary = tmp_path / "volume", tmp_path / "temporary"
    volume.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def write(folder: Path) -> None:
        if volume in folder.parents:
            raise error
        write_one(folder)

    with pytest.raises(FolderKept, match="disk full") as caught:
        write_folder(volume / "out", write)
    (kept,) = temporary.iterdir()
    assert str(kept) in str(caught.value)
    assert (names(volume), names(kept)) == ([], ["new"])
    assert (kept / "new").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_written_anywhere_is_said_to_be_lost_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def write(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    with pytest.raises(LorelayError, match=r"disk full.*is lost"):
        write_folder(tmp_path / "out", write)
    assert names(tmp_path) == []
