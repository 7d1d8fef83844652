"""Text that somebody else wrote, for a terminal."""


def printable(text: str) -> str:
    """The text with escapes for whatever would steer the terminal: it may be anybody's bytes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
