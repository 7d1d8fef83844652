"""What a worker can be told."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from inference.worker.settings import WorkerSettings


def test_adapters_may_lie_anywhere_unless_roots_are_named() -> None:
    assert WorkerSettings().adapter_roots == ()


@pytest.mark.parametrize(
    "written", ["{0}/a:{0}/b", "{0}/a,{0}/b", " {0}/a , {0}/link:", "{0}/b/../a,{0}/b"]
)
def test_roots_are_folders_between_commas_or_colons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to("b")
    monkeypatch.setenv("LORELAY_ADAPTER_ROOTS", written.format(tmp_path))
    assert WorkerSettings().adapter_roots == (tmp_path / "a", tmp_path / "b")


def test_a_relative_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORELAY_ADAPTER_ROOTS", "models")
    with pytest.raises(ValidationError, match="models is a relative path; give absolute ones"):
        WorkerSettings()
