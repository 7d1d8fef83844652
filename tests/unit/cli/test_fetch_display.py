"""What whoever waits for a download is told."""

from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console
from rich.status import Status

from cli.fetch_display import FetchDisplay

URL = "s3://models/legal/adapter_model.safetensors"


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(params=[True, False], ids=["terminal", "log"])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(file=StringIO(), force_terminal=request.param, width=200)


@pytest.fixture
def status(console: Console) -> Iterator[Status]:
    yield console.status("Checking")


def printed(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_what_is_soon_over_is_not_worth_a_word(console: Console, status: Status) -> None:
    clock = Clock()
    display = FetchDisplay(console, status, clock)
    clock.seconds += 1.9
    display.received(URL, 10, 20)
    assert printed(console) == ""
    assert status.status == "Checking"


def test_after_two_seconds_it_is_told_how_far_it_is(console: Console, status: Status) -> None:
    clock = Clock()
    display = FetchDisplay(console, status, clock)
    clock.seconds += 2
    display.received(URL, 12_000_000, 340_000_000)
    told = f"Fetching {URL}: 12.0 MB of 340.0 MB"
    if console.is_terminal:
        assert status.status == told
    else:
        assert printed(console) == told + "\n"


def test_of_an_unknown_size_only_what_has_come_is_told(console: Console, status: Status) -> None:
    clock = Clock()
    display = FetchDisplay(console, status, clock)
    clock.seconds += 2
    display.received(URL, 12_000_000, None)
    assert f"{URL}: 12.0 MB" in f"{status.status}{printed(console)}"


def test_a_log_gets_a_line_in_ten_seconds_and_a_terminal_every_change() -> None:
    for is_terminal, lines in ((False, 3), (True, 0)):
        console = Console(file=StringIO(), force_terminal=is_terminal, width=200)
        status = console.status("Checking")
        clock = Clock()
        display = FetchDisplay(console, status, clock)
        for second in range(25):
            clock.seconds = 100.0 + second
            display.received(URL, second * 1000, 25_000)
        assert len(printed(console).splitlines()) == lines
        assert (status.status == f"Fetching {URL}: 24.0 kB of 25.0 kB") is is_terminal
