"""What somebody else wrote steers no terminal."""

from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from cli import adapters, history, versions
from cli.ask import summary
from cli.main import main
from cli.printable import printable, printable_lines, writer
from cli.query_client import Answer
from schemas.records import LifecycleEvent, Origin, Provenance, Response, Routing
from streams.registry.reader import Registry
from tests.unit.streams.registry.factories import version

#: Sets the window's title and clears the screen.
STEERING = "\x1b]0;owned\x07\x1b[2J"


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(*parts: object) -> str:
    console = Console(file=StringIO(), width=200)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_an_answer_steers_no_terminal_and_keeps_its_lines() -> None:
    terminal = Terminal()
    writer(terminal)(f"one\r\n\ttwo\n{STEERING}\x9b2J\rthree")
    assert terminal.getvalue() == ("one\n\ttwo\n\\x1b]0;owned\\x07\\x1b[2J\\x9b2J\\rthree")


def test_an_answer_keeps_the_letters_of_every_language() -> None:
    text = "10\u202f000\u00a0€ \u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f52c \u3000"
    assert printable_lines(text) == text


def test_whoever_is_no_terminal_gets_an_answer_as_it_is() -> None:
    file = StringIO()
    writer(file)(f"one\r\n{STEERING}")
    assert file.getvalue() == f"one\r\n{STEERING}"


def test_a_line_of_a_display_stays_one() -> None:
    assert printable("a\nb\u2028c\x1b") == "a\\nb\\u2028c\\x1b"


def test_an_error_that_quotes_a_name_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["ask", "Why?", "--language", f"x{STEERING}"]) == 1
    assert main(["router", "--settings", f"no-file{STEERING}"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_the_line_below_an_answer_steers_no_terminal() -> None:
    response = Response(
        query_id="q", status="ok", routing=Routing(reason=STEERING), origin=Origin("q", 0, 1)
    )
    assert "\x1b" not in summary(Answer(response, 1.0))


def test_a_version_that_is_shown_steers_no_terminal() -> None:
    registered = replace(
        version(custom={f"note{STEERING}": STEERING}, provenance=Provenance(STEERING)),
        status=STEERING,  # type: ignore[arg-type]
        prompt_template="one\ntwo {prompt}",
    )
    registry = Registry()
    registry.apply_version(registered.key, registered, 0)
    shown = printed(
        adapters._details(registry, registered), adapters._table(registry, [registered], 99)
    )
    assert "\x1b" not in shown
    assert "custom note\\x1b]0;owned" in shown
    assert "\\n" not in shown, "a template keeps its lines"


def test_an_event_that_is_shown_steers_no_terminal() -> None:
    event = LifecycleEvent(
        f"legal{STEERING}",
        f"promoted{STEERING}",
        adapter=STEERING,
        to_status=STEERING,
        actor=STEERING,
        reason=STEERING,
        figures={STEERING: 1.0},
        shares={STEERING: 1.0},
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    console = Console(file=StringIO(), width=200)
    history._print(console, event)
    console.print(versions.sentence(event))
    assert isinstance(console.file, StringIO)
    assert "\x1b" not in console.file.getvalue()
