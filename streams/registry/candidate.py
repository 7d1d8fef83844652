"""What a user asks to register: a metadata file or folder, read and checked by itself."""

import codecs
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from schemas.errors import RegistrationRefused
from schemas.records import AdapterVersion, Example
from streams.registry.artifact import CONFIG, WEIGHTS, check_folder
from streams.registry.examples import read_examples, split
from streams.registry.files import UnsoundArtifact, opened
from streams.registry.metadata import adapter_path, read_metadata
from streams.registry.remote.copy import copied
from streams.registry.remote.places import is_remote
from streams.registry.remote.settings import RemoteSettings
from streams.registry.validation import check_names, with_artifact

METADATA: Final = "metadata.json"
EXAMPLES: Final = "examples.jsonl"

#: Tokenizers lie beside adapters, tens of megabytes of JSON: nothing to look for an id in.
_MAX_METADATA_BYTES: Final = 4 << 20
_MAX_EXAMPLES_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that is sound by itself; whether it fits is for the registry to say."""

    version: AdapterVersion
    examples: tuple[Example, ...]
    warnings: tuple[str, ...] = ()


def read_candidate(
    path: Path,
    now: datetime,
    examples: Path | None = None,
    remote: RemoteSettings | None = None,
) -> Candidate:
    """Reads the metadata at ``path`` (a file, or a folder with one), the weights and examples.

    The weights lie where the metadata says or else beside it, the examples in ``examples``,
    or in examples.jsonl beside the weights or the metadata. Files that lie elsewhere are fetched
    as ``remote`` allows, by default LORELAY_* variables, and not kept. Nothing is written. Takes
    a second or two per GB of weights. Raises RegistrationRefused.
    """
    metadata, tree = _metadata(path)
    version = read_metadata(tree, now)
    check_names(version)
    try:
        with _weights(metadata, tree, remote) as (folder, uri):
            _check_not_overwritten(folder)
            checked = with_artifact(version, check_folder(folder), uri)
            learnt = _examples(examples, folder, metadata.parent)
    except UnsoundArtifact as error:
        raise RegistrationRefused(str(error)) from error
    return Candidate(
        _with_parts(checked.version, learnt),
        learnt,
        (*checked.warnings, *_warnings(learnt)),
    )


def read_description(path: Path, now: datetime) -> Candidate:
    """As ``read_candidate``, but the weights are not looked at, nor need they be there yet."""
    metadata, tree = _metadata(path)
    version = read_metadata(tree, now)
    check_names(version)
    is_here = _remote_uri(metadata, tree) is None
    learnt = _examples(None, *([_folder(metadata, tree)] if is_here else []), metadata.parent)
    return Candidate(_with_parts(version, learnt), learnt, tuple(_warnings(learnt)))


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


def _metadata(path: Path) -> tuple[Path, Mapping[str, Any]]:
    if not path.exists():
        raise RegistrationRefused(f"There is no file or folder {path}.")
    if path.is_file():
        tree = _read_json(path)
        if tree is None:
            raise RegistrationRefused(f"{path} holds no JSON object.")
        return path.resolve(), tree
    names = [path / METADATA, *sorted(path.glob("*.json"))]
    for name in names:
        # Other JSON files lie there too: PEFT's, the tokenizer's.
        if _may_be_metadata(name) and (tree := _read_json(name)) and _is_metadata(tree):
            return name.resolve(), tree
    raise RegistrationRefused(f"{path} has no {METADATA} that names an adapter_id.")


def _may_be_metadata(path: Path) -> bool:
    return path.is_file() and (path.name == METADATA or path.stat().st_size <= _MAX_METADATA_BYTES)


def _is_metadata(tree: Mapping[str, Any]) -> bool:
    return "adapter_id" in tree or "adapter_metadata" in tree


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        with opened(path, _MAX_METADATA_BYTES) as found:
            content = found.read_at(0, found.size_bytes)
            tree = orjson.loads(content.removeprefix(codecs.BOM_UTF8))
    except UnsoundArtifact as error:
        raise RegistrationRefused(str(error)) from error
    except ValueError as error:
        raise RegistrationRefused(f"{path} is not JSON: {error}.") from error
    return tree if isinstance(tree, dict) else None


@contextmanager
def _weights(
    metadata: Path, tree: Mapping[str, Any], remote: RemoteSettings | None
) -> Iterator[tuple[Path, str | None]]:
    """The folder to read, and the URI of the one that it is a copy of."""
    uri = _remote_uri(metadata, tree)
    if uri is None:
        yield _folder(metadata, tree), None
        return
    with copied(uri, remote or RemoteSettings(), {EXAMPLES: _MAX_EXAMPLES_BYTES}) as folder:
        yield folder, uri


def _remote_uri(metadata: Path, tree: Mapping[str, Any]) -> str | None:
    named = adapter_path(tree)
    if named is None or (metadata.parent / WEIGHTS).exists() or not is_remote(named):
        return None
    return named.rstrip("/")


def _folder(metadata: Path, tree: Mapping[str, Any]) -> Path:
    beside = metadata.parent
    named = adapter_path(tree)
    if (beside / WEIGHTS).exists() or named is None:
        return beside
    parts = urlsplit(named)
    if parts.scheme not in ("", "file"):
        raise RegistrationRefused(f"{named} can't be read here; put the folder on a local path.")
    local = unquote(parts.path) if parts.scheme else named
    return (beside / local).resolve()


def _check_not_overwritten(folder: Path) -> None:
    config = folder / CONFIG
    if not config.is_file():
        return
    tree = _read_json(config)
    if tree is not None and _is_metadata(tree) and "r" not in tree:
        raise RegistrationRefused(
            f"{config} holds the adapter's metadata where PEFT's configuration should be: put "
            f"PEFT's file back and save the metadata as {METADATA}."
        )


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
