"""Brings what a ThemisDB has and we don't; of what both have, tells where they differ."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from cli.sync.themisdb import SyncFailed, ThemisDb
from schemas.codec import Codec
from schemas.errors import RegistrationRefused, RegistryConflict
from streams.kafka.settings import KafkaSettings
from streams.registry.differences import differences
from streams.registry.metadata import read_metadata
from streams.registry.posted import read_posted
from streams.registry.reader import Registry
from streams.registry.writer import RegistryWriter

Outcome = Literal["registered", "new", "same", "conflict", "refused", "only here"]


@dataclass(frozen=True, slots=True)
class Synced:
    """What came of one version; `new` is one that would be registered."""

    adapter: str
    outcome: Outcome
    notes: tuple[str, ...] = ()


async def pull(
    themisdb: ThemisDb, registry: Registry, settings: KafkaSettings, actor: str, is_dry: bool
) -> AsyncIterator[Synced]:
    """One version after another. Nothing that is here is changed. Raises: SyncFailed, KafkaError,
    RegistryConflict where others write to the registry."""
    there = set()
    for entry in await themisdb.versions():
        key = f"{entry['adapter_id']}@{entry['adapter_version']}"
        there.add(key)
        try:
            metadata = await themisdb.metadata(entry["adapter_id"], entry["adapter_version"])
            yield await _synced(key, entry, metadata, registry, settings, actor, is_dry)
        except RegistryConflict:
            raise
        except (SyncFailed, RegistrationRefused) as error:
            yield Synced(key, "refused", (str(error),))
    for version in registry.versions():
        if version.key not in there:
            yield Synced(version.key, "only here")


async def _synced(
    key: str,
    entry: Mapping[str, Any],
    metadata: dict[str, Any],
    registry: Registry,
    settings: KafkaSettings,
    actor: str,
    is_dry: bool,
) -> Synced:
    now = datetime.now(UTC)
    ours = registry.get(key)
    if ours is not None:
        status = entry.get("status")
        found = differences(read_metadata(metadata, now), ours)
        if status not in (None, ours.status):
            found.append(f"status: there {status!r}, here {ours.status!r}")
        return Synced(key, "conflict" if found else "same", tuple(found))
    candidate = await asyncio.to_thread(read_posted, metadata, now)
    if is_dry:
        return Synced(key, "new", candidate.warnings)
    async with RegistryWriter(settings, Codec(), actor) as writer:
        _, warnings = await writer.register(candidate, now)
    return Synced(key, "registered", tuple(warnings))
