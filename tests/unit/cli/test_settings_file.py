import os
from pathlib import Path

import pytest

from cli.settings_file import read_settings_file
from schemas.errors import ConfigurationError


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes what a test adds to the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def settings_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "router.env"
    path.write_text(text)
    return path


@pytest.mark.usefixtures("environment")
def test_variables_that_are_set_win_over_the_file(tmp_path: Path) -> None:
    os.environ["LORELAY_KAFKA"] = "here:1"
    read_settings_file(
        settings_file(tmp_path, "# ours\nLORELAY_KAFKA=there:2\nLORELAY_ENCODER='minilm'\n")
    )
    assert (os.environ["LORELAY_KAFKA"], os.environ["LORELAY_ENCODER"]) == ("here:1", "minilm")


@pytest.mark.usefixtures("environment")
def test_no_file_changes_nothing() -> None:
    before = dict(os.environ)
    read_settings_file(None)
    assert dict(os.environ) == before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.env"):
        read_settings_file(tmp_path / "none.env")


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "")
    path.write_bytes("LORELAY_INSTANCE=Köln\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"router\.env can't be read"):
        read_settings_file(path)


@pytest.mark.parametrize("text", ["KAFKA=there:2\n", "LORELAY_KAFKA\n"])
def test_a_line_that_sets_nothing_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="KAFKA"):
        read_settings_file(settings_file(tmp_path, text))
