"""A streamed answer, put together from chunks that are no promise. Pure.

A worker that dies leaves its part unfinished, and its successor begins again at sequence 0: with
the same attempt number where it was killed, with a higher one where it failed. A worker that was
only stalled may go on beside its successor. What a client has been sent can't be taken back, so
only text that continues it is sent, and the response has the last word.
"""

from schemas.records import Chunk


class Diverged(Exception):
    """The answer does not begin with what was sent of it."""


class StreamedText:
    """What may be sent of one answer, and what has been."""

    def __init__(self) -> None:
        self.sent = ""
        self._run = ""
        self._attempt = 0
        self._next = 0

    def add(self, chunk: Chunk) -> None:
        """Takes in a chunk. One out of sequence, after a lost one or of another run, is left out;
        so are all after it, up to the next beginning."""
        if chunk.attempt < self._attempt:
            return
        if chunk.sequence == 0:
            self._attempt, self._next, self._run = chunk.attempt, 0, ""
        if (chunk.attempt, chunk.sequence) != (self._attempt, self._next):
            return
        self._next += 1
        self._run += chunk.text

    def complete(self, text: str) -> None:
        """Takes the response's text for the answer. Raises: Diverged."""
        if not text.startswith(self.sent):
            raise Diverged
        self._run = text

    @property
    def waiting(self) -> int:
        """Characters that `take` would return."""
        return max(0, len(self._run) - len(self.sent)) if self._continues() else 0

    def take(self) -> str:
        """What continues what was sent, which is then sent; empty if nothing does."""
        if not self._continues():
            return ""
        new = self._run[len(self.sent) :]
        self.sent += new
        return new

    def _continues(self) -> bool:
        return self._run.startswith(self.sent)
