"""Which folders elsewhere adapters may be fetched from. Pure.

Whoever may write to the registry names a folder, and this process goes there with its own
credentials and from its own place in the network. So a URI is plain and says what it means, or
is refused, and only what a setting names is asked at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import unquote, urljoin, urlsplit

from streams.registry.files import MissingArtifact

REMOTE_SCHEMES: Final = ("s3", "https")

_SETTING: Final = "LORELAY_ADAPTER_SOURCES"
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]{1,5})?")
_UNPLAIN: Final = re.compile(r"[\s\\?#\x00-\x1f\x7f]")


class NotAllowed(MissingArtifact):
    """Nothing is fetched from that place, as no setting says so."""

    def __init__(self, place: "Place", reason: str) -> None:
        super().__init__(reason)
        self.place = place


def is_remote(uri: str) -> bool:
    """Whether it names a place that files would have to be fetched from."""
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and scheme.lower() != "file"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder elsewhere, or all that lies below it: scheme, bucket or host, and path."""

    scheme: str
    host: str
    path: tuple[str, ...]

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Raises MissingArtifact, which says what is wrong with the URI."""
        try:
            parts = urlsplit(uri)
        except ValueError as error:
            raise MissingArtifact(f"{uri} names no folder: {error}.") from error
        if parts.scheme not in REMOTE_SCHEMES:
            known = " and ".join(f"{scheme}://" for scheme in REMOTE_SCHEMES)
            raise MissingArtifact(f"{uri} can't be fetched: only {known} can.")
        if "@" in parts.netloc:
            raise MissingArtifact(
                f"A {parts.scheme} URI holds credentials; they belong into the environment of "
                "whoever fetches it."
            )
        host = parts.netloc.lower() if parts.scheme == "https" else parts.netloc
        host = host.removesuffix(":443") if parts.scheme == "https" else host
        if not _HOST.fullmatch(host.lower()):
            raise MissingArtifact(f"{uri} names no {_host_kind(parts.scheme)}.")
        if _UNPLAIN.search(uri):
            raise MissingArtifact(f"{uri} is no plain URI: it may have no spaces, ? or #.")
        path = tuple(part for part in parts.path.split("/") if part)
        # A server may take %2e%2e, and what is encoded twice, for what it stands for.
        if any(unquote(unquote(part)) in (".", "..") or "%2f" in part.lower() for part in path):
            raise MissingArtifact(f"{uri} goes up by '..'; register the folder by its own path.")
        return cls(parts.scheme, host, path)

    def __str__(self) -> str:
        return "/".join([f"{self.scheme}://{self.host}", *self.path])

    def file(self, name: str) -> str:
        """The URI of a file in this folder."""
        return f"{self}/{name}"

    @property
    def parent(self) -> "Place":
        """The folder that this one lies in; a bucket or a host lies in none."""
        return replace(self, path=self.path[:-1])

    def holds(self, other: "Place") -> bool:
        """Whether the other is this folder or lies below it."""
        return (
            (self.scheme, self.host) == (other.scheme, other.host)
            and self.path == other.path[: len(self.path)]
        )  # fmt: skip


Sources = Sequence[Place]
"""Folders below which adapters may be fetched; empty where none may."""


def allowed_place(uri: str, sources: Sources) -> Place:
    """The folder that the URI names. Raises MissingArtifact: NotAllowed where it may not be
    fetched."""
    place = Place.parse(uri)
    if not any(source.holds(place) for source in sources):
        named = ", ".join(map(str, sources)) or "unset"
        raise NotAllowed(
            place,
            f"{uri} is outside {_SETTING} ({named}): add the part of it that adapters may be "
            "fetched from to that setting.",
        )
    return place


def redirected(url: str, location: str, sources: Sources) -> str:
    """Where a server's answer leads; a query, such as a signature, may follow the path there.

    Raises MissingArtifact where that is another scheme, or a place that is not allowed either.
    """
    target = urljoin(url, location)
    bare = target.partition("#")[0].partition("?")[0]
    try:
        place = Place.parse(bare)
    except MissingArtifact as error:
        raise MissingArtifact(f"{url} leads to where nothing is fetched from: {error}") from error
    if place.scheme != "https" or not any(source.holds(place) for source in sources):
        raise MissingArtifact(
            f"{url} leads to {place.scheme}://{place.host}, which is outside {_SETTING}."
        )
    return target


def _host_kind(scheme: str) -> str:
    return "bucket" if scheme == "s3" else "host"
