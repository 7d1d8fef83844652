import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import main as cli_main
from cli.main import COMMANDS, Entry, main
from schemas.errors import ConfigurationError, EngineUnavailable
from streams.kafka.settings import KafkaSettings
from streams.process import ProcessSettings


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


NOT_UTF_8 = os.fsdecode(b"\xff")


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", NOT_UTF_8],
        ["ask", "Why?", "--adapter", NOT_UTF_8],
        ["ask", "Why?", f"--adapter={NOT_UTF_8}"],
        ["cancel", NOT_UTF_8],
        ["feedback", NOT_UTF_8, "--rating", "1"],
        ["gateway", "keys", "add", NOT_UTF_8, "--file", "keys.json"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]).encode("ascii", "replace").decode(),
)
def test_an_argument_that_is_no_text_is_refused_in_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("lorelay: The argument ") and said.endswith(" is not UTF-8.\n")


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / NOT_UTF_8
    folder.mkdir()
    assert exit_status(["gateway", "keys", "list", f"--file={folder}"]) == 2
    (folder / "keys.json").write_text("[]")
    assert exit_status(["gateway", "keys", "list", "--file", str(folder / "keys.json")]) == 0


def test_a_question_on_standard_input_that_is_no_text_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for errors in ("strict", "surrogateescape"):
        given = io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8", errors=errors)
        monkeypatch.setattr(sys, "stdin", given)
        assert exit_status(["ask", "-"]) == 2
        assert capsys.readouterr().err == "lorelay: What came on standard input is not UTF-8.\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LORELAY_LOG_LEVEL", "loud"),
        ("LORELAY_METRICS_PORT", "99999"),
        ("LORELAY_SESSION_TIMEOUT", "inf"),
        ("LORELAY_SESSION_TIMEOUT", "1e20"),
        ("LORELAY_REQUEST_TIMEOUT_MS", "-1"),
        ("LORELAY_MAX_RECORD_BYTES", "0"),
        ("LORELAY_TOPIC_PREFIX", "a b"),
        ("LORELAY_DRIFT_WINDOW", "1e300"),
        ("LORELAY_KAFKA", "host:abc"),
        ("LORELAY_KAFKA", "127.0.0.1:99999"),
        ("LORELAY_KAFKA", "127.0.0.1:9092,"),
        ("LORELAY_KAFKA", "a..b:9092"),
        ("LORELAY_KAFKA", "[::1"),
        ("LORELAY_KAFKA", ""),
    ],
)
@pytest.mark.usefixtures("command")
def test_a_variable_out_of_its_range_is_named_in_a_sentence(
    variable: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    assert exit_status(["read_settings_of_the_wrong_kind"]) == 2
    said = capsys.readouterr().err
    assert variable in said and said.count("\n") == 1


@pytest.mark.parametrize(
    "servers", ["localhost", "a:1,b.c:65535", "127.0.0.1:9092, 127.0.0.1:9093", "[::1]:9092", "::1"]
)
def test_servers_are_named_as_clients_take_them(servers: str) -> None:
    assert KafkaSettings(kafka=servers).kafka == servers


def test_a_log_level_may_be_in_small_letters() -> None:
    assert ProcessSettings(log_level="debug").log_level == "DEBUG"  # type: ignore[arg-type]


def test_settings_are_listed_as_they_are_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORELAY_INSTANCE", "[/b]")
    assert exit_status(["settings", "gateway"]) == 0
    assert "[/b]" in capsys.readouterr().out


@pytest.mark.parametrize("window", ["1e20", "nan", "inf"])
def test_figures_are_shown_of_a_time_that_there_is(
    window: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(["metrics", "--window", window]) == 2
    assert "--window" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["topics", "--partitions", str(2**70)],
        ["topics", "--replication", "99999"],
        ["up", "--partitions", str(2**70)],
        ["gateway", "keys", "add", "clara", "--requests-per-minute", str(2**70)],
        ["gateway", "keys", "add", "clara", "--tokens-per-day", str(2**70)],
        ["gateway", "keys", "add", "clara", "--at-once", str(2**70)],
    ],
    ids=" ".join,
)
def test_a_number_that_nobody_can_keep_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(arguments) == 2
    assert "Invalid value" in capsys.readouterr().err
