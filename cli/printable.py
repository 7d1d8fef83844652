"""Text that somebody else wrote, for a terminal."""

import unicodedata
from collections.abc import Callable
from typing import TextIO


def printable(text: str) -> str:
    """The text with escapes for whatever would steer the terminal: it may be anybody's bytes."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines: its line ends and tabs stay.

    So does what is no control character, though it may not be seen: the white space of other
    languages, and what joins or parts letters.
    """
    return "".join(_escape(c) if _steers(c) else c for c in text.replace("\r\n", "\n"))


def writer(stream: TextIO) -> Callable[[str], object]:
    """Writes texts to the stream as they are; to a terminal, what `printable_lines` makes of it."""
    if not stream.isatty():
        return stream.write
    return lambda text: stream.write(printable_lines(text))


def _steers(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
