"""An answer that is printed while it is being written."""

import pytest

from cli.streamed_text import StreamedText
from schemas.records import Chunk, Origin

ORIGIN = Origin("queries", 0, 7)


class Page:
    """Collects what is written."""

    def __init__(self) -> None:
        self.text = ""
        self.shown = StreamedText(self._write)

    def _write(self, text: str) -> None:
        self.text += text

    def add(self, sequence: int, text: str, attempt: int = 1) -> None:
        self.shown.add(
            Chunk(query_id="q", origin=ORIGIN, attempt=attempt, sequence=sequence, text=text)
        )


@pytest.fixture
def page() -> Page:
    return Page()


def test_chunks_are_written_as_they_come(page: Page) -> None:
    page.add(0, "Three")
    page.add(1, " years.")

    assert page.text == "Three years."


def test_a_chunk_that_comes_twice_is_written_once(page: Page) -> None:
    page.add(0, "Three")
    page.add(1, " years.")
    page.add(0, "Three")

    assert page.text == "Three years."


def test_the_response_adds_only_what_the_chunks_lacked(page: Page) -> None:
    page.add(0, "Three")
    page.shown.finish("Three years.")

    assert page.text == "Three years.\n"


def test_without_chunks_the_response_is_written_whole(page: Page) -> None:
    page.shown.finish("Three years.")

    assert page.text == "Three years.\n"


def test_another_attempt_starts_on_a_page_of_its_own(page: Page) -> None:
    page.add(0, "Thr")
    page.add(0, "Four", attempt=2)
    page.add(1, "ee", attempt=1)
    page.shown.finish("Four years.")

    assert page.text == "Thr\n\nFour years.\n"


def test_a_response_that_differs_from_the_chunks_is_written_whole(page: Page) -> None:
    page.add(0, "Four")
    page.shown.finish("Three years.")

    assert page.text == "Four\n\nThree years.\n"
