"""What happens before the command's own modules are there."""

import sys
from types import ModuleType

import pytest

from cli import entry


class Interrupted(ModuleType):
    """A module that Ctrl-C hits while it is imported."""

    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt


def test_ctrl_c_during_the_imports_is_no_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cli.main", Interrupted("cli.main"))
    assert entry.main() == 130


def test_the_command_runs_and_its_status_is_returned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lorelay", "no-such-command"])
    with pytest.raises(SystemExit, match="2"):
        entry.main()
    assert "No such command 'no-such-command'" in capsys.readouterr().err
