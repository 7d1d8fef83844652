"""Whether an adapter version may be registered. Pure; every refusal says what to do."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from schemas.errors import RegistrationRefused
from schemas.records import AdapterVersion, Artifact, Example, WorkerState
from streams.registry.artifact import AdapterFolder
from streams.registry.version import parse

HEARTBEAT_FRESH: Final = timedelta(seconds=30)
"""A worker that has not written its state for this long counts as gone."""

_ID: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+-v(0|[1-9][0-9]*)")


class Novelty(Enum):
    """What a registration would change."""

    NEW = "registered"
    MOVED = "registered at a new place"
    SAME = "already registered"


@dataclass(frozen=True, slots=True)
class Checked:
    """A version that passed, as it is to be written, and what its owner should know."""

    version: AdapterVersion
    warnings: tuple[str, ...] = ()


def check_names(version: AdapterVersion) -> None:
    """Raises RegistrationRefused unless id, version, domain and prompt template are well formed."""
    given = version.adapter_version
    try:
        parsed = parse(given)
    except ValueError as error:
        raise RegistrationRefused(
            f"adapter_version {given!r} must be a semantic version such as 1.0.0 or 1.1.0-rc.1, "
            "without a build part."
        ) from error
    domain = version.domain.strip().lower().replace(" ", "-").replace("_", "-")
    shape = f"{domain}-{{task}}-v{parsed.major}"
    adapter_id = version.adapter_id
    if not _ID.fullmatch(adapter_id) or not adapter_id.startswith(f"{domain}-"):
        raise RegistrationRefused(
            f"adapter_id {adapter_id!r} must be shaped {{domain}}-{{task}}-v{{major}} in lower "
            f"case, here {shape}."
        )
    if not adapter_id.endswith(f"-v{parsed.major}"):
        raise RegistrationRefused(
            f"adapter_id {adapter_id!r} must end in -v{parsed.major}, the major of its version "
            f"{given}."
        )
    family = adapter_id.removesuffix(f"-v{parsed.major}")
    if _ID.fullmatch(family):
        raise RegistrationRefused(
            f"adapter_id {adapter_id!r} has two majors: its family would be {family}, which is how "
            "another adapter may be called."
        )
    if adapter_id == f"{domain}-v{parsed.major}":
        raise RegistrationRefused(f"adapter_id {adapter_id!r} lacks its task: {shape}.")
    if version.prompt_template is not None and "{prompt}" not in version.prompt_template:
        raise RegistrationRefused("prompt_template must contain {prompt}.")


def with_artifact(
    version: AdapterVersion, folder: AdapterFolder, uri: str | None = None
) -> Checked:
    """The version with its files; rank and scale are PEFT's, which the engine goes by.

    ``uri`` is where they lie, if ``folder`` is a copy.

    Raises RegistrationRefused where the rank is above what the metadata says an engine needs.
    """
    config, training = folder.config, version.training
    warnings = []
    if training.lora_rank not in (None, config.rank):
        warnings.append(
            f"The metadata says rank {training.lora_rank}, the adapter has {config.rank}."
        )
    needed = version.vllm.max_lora_rank
    if needed is not None and config.rank > needed:
        raise RegistrationRefused(
            f"Its rank {config.rank} is above {needed}, the vllm.max_lora_rank of its metadata."
        )
    training = replace(
        training,
        lora_rank=config.rank,
        lora_alpha=config.lora_alpha,
        target_modules=training.target_modules or config.target_modules,
    )
    artifact = Artifact(uri or folder.path.as_uri(), folder.sha256, folder.size_bytes)
    return Checked(replace(version, training=training, artifact=artifact), tuple(warnings))


def live(states: Sequence[WorkerState], now: datetime) -> list[WorkerState]:
    """The workers that wrote their state lately and are not on their way out."""
    return [
        state
        for state in states
        if state.status != "stopping"
        and state.heartbeat_at is not None
        and now - state.heartbeat_at <= HEARTBEAT_FRESH
    ]


def check_engines(version: AdapterVersion, workers: Sequence[WorkerState]) -> list[str]:
    """Warnings, where nothing can be told; raises RegistrationRefused where no worker could serve.

    ``workers`` are those that live. Any of them may get a query for the adapter, so each of
    them must be able to serve it.
    """
    if not workers:
        return [
            "No worker is running, so base model and rank could not be compared with an engine's."
        ]
    rank = version.training.lora_rank
    for worker in workers:
        served = worker.base_model
        wanted = version.base_model
        if served.name != wanted.name or (
            served.version and wanted.version and served.version != wanted.version
        ):
            raise RegistrationRefused(
                f"It was trained on {wanted}, but worker {worker.worker_id} serves {served}."
            )
        highest = worker.max_lora_rank
        if rank is not None and highest is not None and rank > highest:
            raise RegistrationRefused(
                f"Its rank {rank} is above {highest}, the max_lora_rank of worker "
                f"{worker.worker_id}."
            )
        if worker.max_loras == 0:
            raise RegistrationRefused(f"Worker {worker.worker_id} serves no adapters at all.")
    return []


def compare(
    version: AdapterVersion,
    examples: Sequence[Example],
    registered: AdapterVersion | None,
    registered_examples: Sequence[Example],
) -> Novelty:
    """What registering would change; raises RegistrationRefused for a change in place.

    A version that is there may only get a new place for the same files.
    """
    if registered is None:
        return Novelty.NEW
    differing = _differences(version, registered)
    if not differing and tuple(examples) != tuple(registered_examples):
        differing = ["examples"]
    if differing:
        raise RegistrationRefused(
            f"{version.key} is registered already with another {', '.join(differing)}. A version "
            "never changes: register it under a new adapter_version."
        )
    if version.artifact != registered.artifact:
        return Novelty.MOVED
    return Novelty.SAME


def _differences(version: AdapterVersion, registered: AdapterVersion) -> list[str]:
    new, old = _immutable(version), _immutable(registered)
    return [name for name in new if new[name] != old[name]]


def _immutable(version: AdapterVersion) -> Mapping[str, object]:
    return {
        "sha256": version.artifact.sha256 if version.artifact else None,
        "base_model": version.base_model,
        "domain": version.domain,
        "task.type": version.task_type,
        "task.language": version.languages,
        "training": version.training,
        "provenance": version.provenance,
        "prompt_template": version.prompt_template,
        "vllm": version.vllm,
        "quality": version.quality,
        "custom": dict(version.custom),
    }
