"""Reads a file from a server behind HTTPS.

Certificates are always checked, against SSL_CERT_FILE where that is set; credentials come from
NETRC or the user's own netrc file, by host, so that no redirect takes them elsewhere.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from streams.registry.files import MissingArtifact
from streams.registry.remote.opened import RemoteFile, broken, not_there, refused, silent
from streams.registry.remote.places import Sources, redirected

_MOST_REDIRECTS: Final = 5
_CHUNK_BYTES: Final = 1 << 20
_CREDENTIALS: Final = "those for its host in the netrc file (NETRC, else ~/.netrc), if it has any"


@asynccontextmanager
async def opened_https(url: str, sources: Sources, idle_s: float) -> AsyncIterator[RemoteFile]:
    """The file at ``url``, whose place is allowed. Raises MissingArtifact, also while reading."""
    asked = url
    try:
        async with _client(idle_s) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                async with client.stream("GET", asked) as response:
                    if response.has_redirect_location:
                        asked = redirected(asked, response.headers["location"], sources)
                        continue
                    _check_status(url, response)
                    yield RemoteFile(url, _length(response), response.aiter_bytes(_CHUNK_BYTES))
                    return
            raise broken(url, f"it was redirected more than {_MOST_REDIRECTS} times")
    except httpx.TimeoutException as error:
        raise silent(url, idle_s) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise broken(url, str(error) or type(error).__name__) from error


def _client(idle_s: float) -> httpx.AsyncClient:
    try:
        auth = httpx.NetRCAuth(os.environ.get("NETRC"))
    except FileNotFoundError:
        auth = None
    except (OSError, SyntaxError) as error:
        # A syntax error of netrc's quotes the line, password and all.
        raise MissingArtifact("The netrc file of this process's user can't be read.") from error
    try:
        # What is counted and hashed are the file's own bytes.
        headers = {"Accept-Encoding": "identity"}
        return httpx.AsyncClient(timeout=idle_s, auth=auth, headers=headers)
    except OSError as error:
        raise MissingArtifact(f"SSL_CERT_FILE can't be read: {error.strerror}.") from error


def _check_status(url: str, response: httpx.Response) -> None:
    if response.status_code in (404, 410):
        raise not_there(url)
    if response.status_code in (401, 403, 407):
        raise refused(url, _CREDENTIALS)
    if response.status_code != 200:
        raise broken(url, f"its server answers {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise broken(url, "its server sends it compressed, unasked")


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None
