"""`lorelay adapters canary`: what it makes of its options before anything is asked."""

from datetime import timedelta

import pytest

from cli.canary import duration
from cli.main import main
from schemas.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        (" 4 h ", timedelta(hours=4)),
        ("1.5d", timedelta(hours=36)),
    ],
)
def test_a_time_has_a_unit(text: str, length: timedelta) -> None:
    assert duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "30", "m", "0s", "-5m", "3w", "49h", "1h30m", "½h", "9" * 400 + "d"]
)
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write a time such as 90s, 30m or 4h"):
        duration(text)


def test_a_share_of_all_is_no_trial(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "canary", "legal-qa-v2", "--share", "100"]) == 2
    assert "nothing to compare with: promote it" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["canary", "promote", "split", "rollback", "retire", "history"])
def test_each_step_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["adapters", command, "--help"])
    assert f"lorelay adapters {command} " in capsys.readouterr().out
