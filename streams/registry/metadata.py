"""Adapter metadata as ThemisDB exports it, read into an AdapterVersion. Pure.

ThemisDB nests it (``task.domain``) in its export and lists it flat (``domain``) in its
registry's answers; both are read, and so is its registration call, which wraps it in
``adapter_metadata``. It writes "" and 0 for what nobody has set.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from schemas.codec import read_value
from schemas.errors import InvalidField, RegistrationRefused
from schemas.records import AdapterVersion, Provenance, Quality, Training, VllmInfo
from streams.registry.version import parse

Tree = Mapping[str, Any]

#: Metadata are a few levels deep; Python reads no more than some hundred.
_MOST_LEVELS: Final = 64

_REQUIRED: Final = {
    "adapter_id": "adapter_id",
    "adapter_version": "adapter_version",
    "domain": "task.domain",
    "task_type": "task.type",
}


def read_metadata(tree: Tree, now: datetime) -> AdapterVersion:
    """The version that the metadata describes, without its artifact and examples, active.

    ``now`` stands in for a missing time of creation. Raises RegistrationRefused for a missing
    or mistyped field, naming it as the metadata does, and for what is nested too deeply.
    """
    tree = _as_set(tree)
    task = _section(tree, "task")
    shape = {
        "adapter_id": tree.get("adapter_id"),
        "adapter_version": tree.get("adapter_version"),
        "domain": task.get("domain", tree.get("domain")),
        "task_type": task.get("type", tree.get("task_type")),
        "languages": _languages(task.get("language", tree.get("language", tree.get("languages")))),
        "base_model": _base_model(tree),
        "training": _training(tree),
        "provenance": _part(tree, Provenance, "provenance"),
        "prompt_template": tree.get("prompt_template", _custom(tree).get("prompt_template")),
        "vllm": _vllm(tree),
        "quality": _part(tree, Quality, "quality", "metrics"),
        "status": "active",
        "custom": {name: _text(value) for name, value in _custom(tree).items()},
        "created_at": tree.get("created_at", tree.get("exported_at")),
    }
    for name, spelling in _REQUIRED.items():
        if shape[name] is None:
            raise RegistrationRefused(f"The metadata lacks {spelling!r}.")
    shape["family"] = _family(str(shape["adapter_id"]), str(shape["adapter_version"]))
    if shape["created_at"] is None:
        shape["created_at"] = now.isoformat()
    try:
        return read_value(AdapterVersion, shape)
    except InvalidField as error:
        raise RegistrationRefused(f"The metadata can't be read: {error}.") from error


def adapter_path(tree: Tree) -> str | None:
    """Where the metadata says that the adapter's folder lies. Raises: RegistrationRefused."""
    tree = _as_set(tree)
    for section in ("artifact", "vllm", "custom"):
        named = _section(tree, section)
        if path := named.get("adapter_path") or named.get("uri"):
            return str(path)
    path = tree.get("adapter_path")
    return None if path is None else str(path)


def _as_set(tree: Tree) -> Tree:
    _check_depth(tree, _MOST_LEVELS)
    inner = tree.get("adapter_metadata")
    kept: Tree = _without_unset(inner if isinstance(inner, Mapping) else tree)
    return kept


def _check_depth(value: Any, levels: int) -> None:
    if not isinstance(value, Mapping | list):
        return
    if levels == 0:
        raise RegistrationRefused(f"The metadata is more than {_MOST_LEVELS} levels deep.")
    for entry in value.values() if isinstance(value, Mapping) else value:
        _check_depth(entry, levels - 1)


def _without_unset(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _without_unset(entry) for name, entry in value.items() if entry not in (None, "")}


def _section(tree: Tree, name: str) -> Tree:
    section = tree.get(name, {})
    if not isinstance(section, Mapping):
        raise RegistrationRefused(f"The metadata's {name!r} must be an object.")
    return section


def _custom(tree: Tree) -> Tree:
    return _section(tree, "custom")


def _part(tree: Tree, record: type[Any], *sections: str) -> dict[str, Any]:
    """The fields of ``record``, from the first section that is there or else from the top."""
    source = next((_section(tree, name) for name in sections if name in tree), tree)
    names = (field.name for field in fields(record))
    return {name: source[name] for name in names if name in source}


def _training(tree: Tree) -> dict[str, Any]:
    part = _part(tree, Training, "training")
    # Nothing but dropout can be 0 when it was set.
    return {name: value for name, value in part.items() if value != 0 or name == "lora_dropout"}


def _vllm(tree: Tree) -> dict[str, Any]:
    part = _part(tree, VllmInfo, "vllm") or _part(tree, VllmInfo, "custom")
    rank = part.get("max_lora_rank")
    if isinstance(rank, str) and rank.isdecimal():  # all of ThemisDB's custom marks are texts
        part["max_lora_rank"] = int(rank)
    if part.get("max_lora_rank") == 0:
        del part["max_lora_rank"]
    return part


def _base_model(tree: Tree) -> dict[str, Any]:
    named = tree.get("base_model", tree.get("base_model_name"))
    if isinstance(named, str):
        named = {"name": named, "version": tree.get("base_model_version")}
    if not isinstance(named, Mapping) or "name" not in named:
        raise RegistrationRefused("The metadata lacks 'base_model.name'.")
    return dict(named)


def _languages(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, Iterable) else []


def _family(adapter_id: str, adapter_version: str) -> str:
    try:
        return adapter_id.removesuffix(f"-v{parse(adapter_version).major}")
    except ValueError:
        return adapter_id  # a version that validation refuses


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
