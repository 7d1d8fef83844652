"""`lorelay dead-letters` without a cluster."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from rich.console import Console

from cli.dead_letter_display import as_json, details, lines
from cli.dead_letters import parse_time
from cli.main import main
from cli.printable import printable
from schemas.errors import ConfigurationError
from tests.unit.streams.kafka.dead_letters.factories import letter
from tests.unit.streams.kafka.dead_letters.strategies import Anything, anything

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("90s", NOW - timedelta(seconds=90)),
            ("15m", NOW - timedelta(minutes=15)),
            ("2h", NOW - timedelta(hours=2)),
            ("7d", NOW - timedelta(days=7)),
            ("2026-11-24T11:00:00Z", NOW - timedelta(hours=1)),
            ("2026-11-24T13:00:00+01:00", NOW),
        ],
    )
    def test_a_time_is_a_span_ago_or_iso(self, text: str, expected: datetime) -> None:
        assert parse_time(text, NOW) == expected

    def test_without_a_zone_it_is_local_as_the_list_shows_it(self) -> None:
        assert parse_time("2026-11-24 12:00", NOW) == datetime(2026, 11, 24, 12).astimezone()

    @pytest.mark.parametrize("text", ["", "2", "h", "2w", "-2h", "soon", "999999d", "0001-01-01"])
    def test_anything_else_says_how_to_write_it(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="15m, 2h or 7d"):
            print(parse_time(text, NOW))


class TestDisplay:
    @given(anything())
    def test_whatever_lies_on_the_topic_is_shown_and_steers_no_terminal(
        self, record: Anything
    ) -> None:
        found = record.read()
        console = Console(width=120, record=True, file=StringIO(), highlight=False)
        console.print(*lines([found]), details(found))
        assert all(c.isprintable() or c == "\n" for c in console.export_text())
        assert json.loads(json.dumps(as_json(found)))["origin"] == found.origin

    def test_control_characters_are_spelt_out(self) -> None:
        assert printable("a\x1b[2Jä\n") == r"a\x1b[2Jä\n"

    def test_the_original_is_in_none_of_them(self) -> None:
        found = letter(value=b"somebody's prompt")
        console = Console(width=200, record=True, file=StringIO(), highlight=False)
        console.print(*lines([found]), details(found))
        assert "prompt" not in console.export_text()
        assert "prompt" not in json.dumps(as_json(found))


class TestMistakes:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("redrive",),
            ("redrive", "--all", "--error", "engine"),
            ("purge",),
            ("list", "--since", "soon"),
        ],
    )
    def test_a_mistake_is_one_sentence_and_status_2(
        self, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["dead-letters", *arguments]) == 2
        told = capsys.readouterr().err
        assert told.startswith("lorelay: ")
        assert told.count("\n") == 1

    def test_a_cluster_that_does_not_answer_is_a_plain_sentence(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setenv("LORELAY_KAFKA", "127.0.0.1:9")
        for arguments in (
            ("list",),
            ("show", "lorelay.queries/0/1"),
            ("redrive", "--all", "--yes"),
            ("purge", "--until", "1d", "--yes"),
        ):
            assert main(["dead-letters", *arguments]) == 2
            told = capsys.readouterr().err
            assert "No Kafka broker answers at 127.0.0.1:9" in told
            assert "Traceback" not in told

    def test_every_command_comes_with_examples(self, capsys: pytest.CaptureFixture[str]) -> None:
        for command in ("list", "show", "redrive", "purge"):
            with pytest.raises(SystemExit):
                main(["dead-letters", command, "--help"])
            assert f"lorelay dead-letters {command}" in capsys.readouterr().out
