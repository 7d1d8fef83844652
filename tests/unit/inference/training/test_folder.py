from pathlib import Path

import pytest

from inference.training.folder import check_free, complete_folder
from schemas.errors import ConfigurationError


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
