"""The names that may be asked for, as OpenAI lists models. Pure."""

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import Any

from schemas.errors import UnknownAdapter
from schemas.records import BASE, AdapterVersion
from streams.gateway.names import AUTOMATIC, adapter_asked_for
from streams.registry.reader import Registry
from streams.registry.version import parse


def catalogue(registry: Registry, base_models: Collection[str]) -> list[dict[str, Any]]:
    """An entry for every name: automatic selection, the base model, families, ids, versions."""
    found = {name: _model(name, "automatic") for name in (*AUTOMATIC, *base_models)}
    found[BASE] = _model(BASE, "base")
    versions = registry.versions()
    families: dict[str, AdapterVersion] = {}
    adapters: dict[str, AdapterVersion] = {}
    for version in sorted(versions, key=lambda version: parse(version.adapter_version)):
        if version.status == "active":
            families[version.family] = adapters[version.adapter_id] = version
    for version in versions:
        # Without an active one it may be a canary, or have a share of a split.
        for known, name in ((families, version.family), (adapters, version.adapter_id)):
            if name not in known:
                with suppress(UnknownAdapter):
                    known[name] = registry.resolve(name)
    exact = {v.key: v for v in versions if registry.is_servable(v.key)}
    for kind, names in (("family", families), ("adapter", adapters), ("version", exact)):
        for name, version in sorted(names.items()):
            found.setdefault(name, _adapter(name, kind, version))
    return list(found.values())


def entry(name: str, registry: Registry, base_models: Collection[str]) -> dict[str, Any]:
    """The entry of a name. Raises: UnknownAdapter, with near names."""
    adapter_asked_for(name, None, registry, base_models)
    for found in catalogue(registry, base_models):
        if found["id"] == name:
            return found
    raise UnknownAdapter(name)


def _adapter(name: str, kind: str, version: AdapterVersion) -> dict[str, Any]:
    about = {
        "adapter": version.key,
        "family": version.family,
        "domain": version.domain,
        "task_type": version.task_type,
        "languages": list(version.languages),
        "status": version.status,
    }
    base = version.base_model.name
    return _model(name, kind, version.created_at, root=version.key, parent=base, **about)


def _model(
    name: str,
    kind: str,
    created_at: datetime | None = None,
    root: str | None = None,
    parent: str | None = None,
    **about: Any,
) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(created_at.timestamp()) if created_at else 0,
        "owned_by": "lorelay",
        "root": root or name,
        "parent": parent,
        "lorelay": {"kind": kind, **about},
    }
