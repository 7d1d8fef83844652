"""An adapter's metadata in a file: which one it is, and where it says that the weights lie."""

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from schemas.errors import RegistrationRefused
from streams.registry.artifact import CONFIG, WEIGHTS
from streams.registry.files import UnsoundArtifact, opened
from streams.registry.metadata import adapter_path
from streams.registry.remote.places import is_remote

METADATA: Final = "metadata.json"

#: Tokenizers lie beside adapters, tens of megabytes of JSON: nothing to look for an id in.
MAX_METADATA_BYTES: Final = 4 << 20


def find_metadata(path: Path) -> tuple[Path, Mapping[str, Any]]:
    """The file at ``path``, or the one in that folder, and what it says. Raises
    RegistrationRefused."""
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


def remote_uri(metadata: Path, tree: Mapping[str, Any]) -> str | None:
    """Where the weights would have to be fetched from; None where they are here."""
    named = adapter_path(tree)
    if named is None or (metadata.parent / WEIGHTS).exists() or not is_remote(named):
        return None
    return named


def weights_folder(metadata: Path, tree: Mapping[str, Any]) -> Path:
    """The folder here that the weights lie in. Raises RegistrationRefused for any other place."""
    beside = metadata.parent
    named = adapter_path(tree)
    if (beside / WEIGHTS).exists() or named is None:
        return beside
    parts = urlsplit(named)
    if parts.scheme not in ("", "file"):
        raise RegistrationRefused(f"{named} can't be read here; put the folder on a local path.")
    local = unquote(parts.path) if parts.scheme else named
    return (beside / local).resolve()


def check_not_overwritten(folder: Path) -> None:
    """Raises RegistrationRefused where metadata were saved under the name of PEFT's file."""
    config = folder / CONFIG
    if not config.is_file():
        return
    tree = _read_json(config)
    if tree is not None and _is_metadata(tree) and "r" not in tree:
        raise RegistrationRefused(
            f"{config} holds the adapter's metadata where PEFT's configuration should be: put "
            f"PEFT's file back and save the metadata as {METADATA}."
        )


def _may_be_metadata(path: Path) -> bool:
    return path.is_file() and (path.name == METADATA or path.stat().st_size <= MAX_METADATA_BYTES)


def _is_metadata(tree: Mapping[str, Any]) -> bool:
    return "adapter_id" in tree or "adapter_metadata" in tree


def _read_json(path: Path) -> Mapping[str, Any] | None:
    try:
        with opened(path, MAX_METADATA_BYTES) as found:
            content = found.read_at(0, found.size_bytes)
            tree = orjson.loads(content.removeprefix(codecs.BOM_UTF8))
    except UnsoundArtifact as error:
        raise RegistrationRefused(str(error)) from error
    except ValueError as error:
        raise RegistrationRefused(f"{path} is not JSON: {error}.") from error
    return tree if isinstance(tree, dict) else None
