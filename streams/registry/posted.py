"""A version that somebody asks to register without a file: metadata as an object, and examples."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import orjson

from schemas.errors import RegistrationRefused
from streams.registry.candidate import EXAMPLES, Candidate, read_candidate
from streams.registry.metadata import adapter_path
from streams.registry.metadata_file import METADATA


def read_posted(
    tree: Mapping[str, Any], now: datetime, examples: Sequence[Mapping[str, Any]] = ()
) -> Candidate:
    """As `read_candidate` of a file with this metadata, which has to say where the weights lie.

    The examples are `examples`, or else examples.jsonl beside the weights. Raises:
    RegistrationRefused.
    """
    _check_place(adapter_path(tree))
    with TemporaryDirectory(prefix="lorelay-metadata-") as name:
        folder = Path(name)
        (folder / METADATA).write_bytes(_json(tree))
        given = folder / EXAMPLES if examples else None
        if given is not None:
            given.write_bytes(b"\n".join(map(_json, examples)))
        return read_candidate(folder / METADATA, now, given)


def _check_place(named: str | None) -> None:
    wanted = "the folder of the weights, as this process and the workers reach it"
    if named is None:
        raise RegistrationRefused(f"The metadata lacks 'adapter_path': {wanted}.")
    if "\0" in named or not (_has_scheme(named) or PurePath(named).is_absolute()):
        raise RegistrationRefused(
            f"adapter_path {named!r} has to be an absolute path or a URI: {wanted}."
        )


def _has_scheme(named: str) -> bool:
    try:
        return bool(urlsplit(named).scheme)
    except ValueError:
        return False


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(dict(value))
    except TypeError as error:
        raise RegistrationRefused(f"The metadata can't be written as JSON: {error}.") from error
