import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import main as cli_main
from cli.main import COMMANDS, Entry, main
from schemas.errors import ConfigurationError, EngineUnavailable


def fail_with_configuration_error() -> None:
    raise ConfigurationError("Set LORELAY_X to a number.")


def fail_with_engine_error() -> None:
    raise EngineUnavailable("The engine is gone.")


def be_interrupted() -> None:
    raise KeyboardInterrupt


def read_settings_of_the_wrong_kind() -> None:
    from streams.router.settings import RouterSettings

    RouterSettings()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of this module under their own names."""
    names = (
        fail_with_configuration_error,
        fail_with_engine_error,
        be_interrupted,
        read_settings_of_the_wrong_kind,
    )
    entries = [Entry(f.__name__, f"{__name__}:{f.__name__}", "A test's.", "Tests") for f in names]
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(cli_main, "COMMANDS", entries)


def exit_status(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as leaving:
        return int(leaving.code or 0)


@pytest.mark.usefixtures("command")
def test_a_mistake_in_the_settings_is_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_status(["fail_with_configuration_error"]) == 2
    assert capsys.readouterr().err == "lorelay: Set LORELAY_X to a number.\n"


@pytest.mark.usefixtures("command")
def test_any_other_failure_of_ours_is_one_sentence_and_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_status(["fail_with_engine_error"]) == 1
    assert capsys.readouterr().err == "lorelay: The engine is gone.\n"


@pytest.mark.usefixtures("command")
def test_an_interrupt_is_quiet_and_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(["be_interrupted"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("command")
def test_a_variable_of_the_wrong_kind_is_named_with_its_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORELAY_ROUTER_BATCH", "many")
    assert exit_status(["read_settings_of_the_wrong_kind"]) == 2
    assert "LORELAY_ROUTER_BATCH='many'" in capsys.readouterr().err


def test_help_names_every_command_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(["--help"]) == 0
    text = capsys.readouterr().out
    assert "lorelay up" in text
    assert all(f" {entry.name} " in text for entry in COMMANDS)


def test_help_imports_no_command_and_no_heavy_library() -> None:
    code = (
        "import sys, contextlib, io, cli.main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    cli.main.main(['--help'])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert imported.isdisjoint({"cli.up", "aiokafka", "httpx", "pydantic_settings", "torch"})


@pytest.mark.parametrize("name", ["up", "down", "status", "logs", "router", "worker", "topics"])
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status([name, "--help"]) == 0
    assert f"lorelay {name}" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(["fly"]) == 2
    assert "fly" in capsys.readouterr().err


def test_the_launcher_says_what_is_missing_in_a_checkout_that_is_not_set_up(
    tmp_path: Path,
) -> None:
    launcher = tmp_path / "lorelay"
    launcher.write_bytes((Path(cli_main.__file__).parents[1] / "lorelay").read_bytes())
    launcher.chmod(0o755)
    done = subprocess.run(
        [launcher, "--help"], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 1
    assert "make setup" in done.stderr
