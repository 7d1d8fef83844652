"""What a user asks to register: metadata, weights and examples, read and checked by themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final

from schemas.errors import RegistrationRefused
from schemas.records import AdapterVersion, Example
from streams.registry.artifact import check_folder
from streams.registry.examples import read_examples, split
from streams.registry.files import UnsoundArtifact, opened
from streams.registry.metadata import read_metadata
from streams.registry.metadata_file import (
    MAX_METADATA_BYTES,
    METADATA,
    check_not_overwritten,
    find_metadata,
    remote_uri,
    weights_folder,
)
from streams.registry.remote.copy import PEFT_FILES, Copy, copied
from streams.registry.remote.fetching import Fetching
from streams.registry.remote.places import is_remote
from streams.registry.remote.settings import RemoteSettings
from streams.registry.validation import check_names, with_artifact

EXAMPLES: Final = "examples.jsonl"

_MAX_EXAMPLES_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that is sound by itself; whether it fits is for the registry to say."""

    version: AdapterVersion
    examples: tuple[Example, ...]
    warnings: tuple[str, ...] = ()


def read_candidate(
    source: Path | str,
    now: datetime,
    examples: Path | None = None,
    remote: RemoteSettings | None = None,
    fetching: Fetching | None = None,
) -> Candidate:
    """Reads the metadata at ``source`` (a file, or a folder with one), the weights and examples.

    Of a ``source`` that is an s3:// or https:// URI, the weights lie beside the metadata, and
    that folder is what workers are to load from. Else they lie where the metadata says or beside
    it. The examples are in ``examples``, or in examples.jsonl beside the weights or the metadata.
    Files that lie elsewhere are fetched as ``remote`` allows, by default LORELAY_* variables, and
    not kept. Nothing is written. Takes a second or two per GB of weights. Raises
    RegistrationRefused.
    """
    fetching = fetching or Fetching()
    if isinstance(source, str) and is_remote(source):
        return _read_elsewhere(source, now, examples, remote, fetching)
    metadata, tree = find_metadata(Path(source))
    version = _version(tree, now)
    uri = remote_uri(metadata, tree)
    if uri is None:
        return _checked(version, weights_folder(metadata, tree), None, examples, metadata.parent)
    with _copied(uri, remote, fetching) as copy:
        _fetch_adapter(copy, examples)
        return _checked(version, copy.folder, copy.uri, examples, metadata.parent)


def read_description(path: Path, now: datetime) -> Candidate:
    """As ``read_candidate``, but the weights are not looked at, nor need they be there yet."""
    metadata, tree = find_metadata(path)
    version = _version(tree, now)
    is_here = remote_uri(metadata, tree) is None
    learnt = _examples(
        None, *([weights_folder(metadata, tree)] if is_here else []), metadata.parent
    )
    return Candidate(_with_parts(version, learnt), learnt, tuple(_warnings(learnt)))


def _read_elsewhere(
    uri: str,
    now: datetime,
    examples: Path | None,
    remote: RemoteSettings | None,
    fetching: Fetching,
) -> Candidate:
    """As ``read_candidate``: of a folder, or of a metadata file in one."""
    place, _, name = uri.rpartition("/")
    is_file = is_remote(place) and name.endswith(".json")
    folder, file = (place, name) if is_file else (uri, None)
    with _copied(folder, remote, fetching) as copy:
        _, tree = find_metadata(_fetch_metadata(copy, file))
        version = _version(tree, now)
        _fetch_adapter(copy, examples)
        return _checked(version, copy.folder, copy.uri, examples)


@contextmanager
def _copied(uri: str, remote: RemoteSettings | None, fetching: Fetching) -> Iterator[Copy]:
    """As `copied`; what is refused is named by where it lies. Raises RegistrationRefused."""
    try:
        with copied(uri, remote or RemoteSettings(), fetching) as copy:
            try:
                yield copy
            except (UnsoundArtifact, RegistrationRefused) as error:
                raise RegistrationRefused(copy.in_its_place(str(error))) from error
    except UnsoundArtifact as error:
        raise RegistrationRefused(str(error)) from error


def _fetch_metadata(copy: Copy, name: str | None) -> Path:
    """The file, or the folder that it may be looked for in."""
    if name is not None:
        copy.fetch({name: MAX_METADATA_BYTES})
        return copy.folder / name
    if copy.fetch_if_there(METADATA, MAX_METADATA_BYTES):
        return copy.folder
    if not copy.can_be_listed:
        raise RegistrationRefused(
            f"{copy.uri}/{METADATA} is not there, and a web server can't be asked what else is: "
            "name the metadata file by its own URI."
        )
    copy.fetch_all(".json", MAX_METADATA_BYTES)
    return copy.folder


def _fetch_adapter(copy: Copy, examples: Path | None) -> None:
    copy.fetch(PEFT_FILES)
    if examples is None:
        copy.fetch_if_there(EXAMPLES, _MAX_EXAMPLES_BYTES)


def _version(tree: Mapping[str, Any], now: datetime) -> AdapterVersion:
    version = read_metadata(tree, now)
    check_names(version)
    return version


def _checked(
    version: AdapterVersion,
    folder: Path,
    uri: str | None,
    examples: Path | None,
    *also_beside: Path,
) -> Candidate:
    """With the weights in ``folder``, a copy of the one at ``uri`` where there is one."""
    try:
        check_not_overwritten(folder)
        checked = with_artifact(version, check_folder(folder), uri)
    except UnsoundArtifact as error:
        raise RegistrationRefused(str(error)) from error
    learnt = _examples(examples, folder, *also_beside)
    return Candidate(
        _with_parts(checked.version, learnt), learnt, (*checked.warnings, *_warnings(learnt))
    )


def _with_parts(version: AdapterVersion, examples: tuple[Example, ...]) -> AdapterVersion:
    return replace(version, example_parts=len(split(version, examples)))


def _warnings(examples: tuple[Example, ...]) -> list[str]:
    if not examples:
        return [
            f"It has no {EXAMPLES}, so selection never chooses it; queries can ask for it by name."
        ]
    if not any(example.held_out for example in examples):
        return ["None of its examples is held out, so its thresholds rest on its training data."]
    return []


def _examples(given: Path | None, *folders: Path) -> tuple[Example, ...]:
    beside = next((folder / EXAMPLES for folder in folders if (folder / EXAMPLES).is_file()), None)
    path = given or beside
    if path is None:
        return ()
    try:
        with (
            opened(path, _MAX_EXAMPLES_BYTES) as found,
            TextIOWrapper(found.file, encoding="utf-8-sig") as lines,
        ):
            return tuple(read_examples(lines))
    except UnsoundArtifact as error:
        raise RegistrationRefused(str(error)) from error
    except UnicodeDecodeError as error:
        raise RegistrationRefused(f"{path} is not UTF-8: {error}.") from error
