from pathlib import Path

import pytest

from cli.logs import last_lines, logs
from schemas.errors import ConfigurationError


def log_with(tmp_path: Path, lines: int) -> Path:
    log = tmp_path / "worker.log"
    log.write_text("".join(f"line {number}\n" for number in range(lines)))
    return log


def test_the_last_lines_come_in_order(tmp_path: Path) -> None:
    assert last_lines(log_with(tmp_path, 10), 3) == ["line 7", "line 8", "line 9"]


def test_a_short_log_comes_whole(tmp_path: Path) -> None:
    assert last_lines(log_with(tmp_path, 2), 50) == ["line 0", "line 1"]


def test_lines_may_reach_over_several_blocks(tmp_path: Path) -> None:
    found = last_lines(log_with(tmp_path, 50_000), 20_000)
    assert (found[0], found[-1], len(found)) == ("line 30000", "line 49999", 20_000)


def test_no_lines_of_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none.log", 5) == []


def test_an_unknown_name_is_answered_with_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lorelay" / "logs").mkdir(parents=True)
    (tmp_path / ".lorelay" / "logs" / "router.log").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="logs of router"):
        logs("rooter", lines=5, follow=False)
