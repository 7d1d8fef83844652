"""What is known of a file elsewhere once it is open, and what can go wrong there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from streams.registry.files import MissingArtifact


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that is being read; ``size_bytes`` is what its server says, None where it doesn't."""

    url: str
    size_bytes: int | None
    chunks: AsyncIterator[bytes]


class NotThere(MissingArtifact):
    """The server answered, and has no such file."""


def not_there(url: str) -> NotThere:
    """For a server that knows nothing of the file."""
    return NotThere(f"{url} is not there.")


def refused(url: str, credentials: str) -> MissingArtifact:
    """For a server that wants other credentials, or has them and keeps the file to itself;
    ``credentials`` says where they come from."""
    return MissingArtifact(
        f"{url} may not be read with the credentials of this process's environment: {credentials}."
    )


def silent(url: str, idle_s: float) -> MissingArtifact:
    """For a server that said nothing for so long."""
    return MissingArtifact(f"{url} can't be fetched: nothing came for {idle_s:g} s.")


def broken(url: str, reason: str) -> MissingArtifact:
    """For all else that may pass; ``reason`` is a library's word for it."""
    first_line = reason.strip().partition("\n")[0][:200] or "the connection broke"
    return MissingArtifact(f"{url} can't be fetched: {first_line}.")
