"""An answer that is printed while it is being written."""

from collections.abc import Callable

from schemas.records import Chunk


class StreamedText:
    """Writes each new piece once, whatever repeats, and in the end what was missing.

    Chunks are no promise: a worker that dies leaves its part unfinished, and its successor starts
    again, with the same attempt number where it was killed, with a higher one where it failed.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._attempt = 0
        self._next = 0
        self.text = ""

    def add(self, chunk: Chunk) -> None:
        """Writes the chunk's text if it is new."""
        if (chunk.attempt, chunk.sequence) < (self._attempt, self._next):
            return
        if chunk.attempt > self._attempt:
            self._start_again()
        self._attempt, self._next = chunk.attempt, chunk.sequence + 1
        self.text += chunk.text
        self._write(chunk.text)

    def finish(self, text: str) -> None:
        """Writes what the answer has beyond the chunks, or all of it if it is another."""
        if not text.startswith(self.text):
            self._start_again()
        self._write(text[len(self.text) :] + "\n")
        self.text = text

    def _start_again(self) -> None:
        if self.text:
            self._write("\n\n")
        self.text = ""
