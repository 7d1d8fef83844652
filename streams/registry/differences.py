"""What two registries say differently of one version. Pure."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

from schemas.records import AdapterVersion

_COMPARED: Final = (
    "base_model",
    "domain",
    "task_type",
    "languages",
    "training",
    "provenance",
    "prompt_template",
    "quality",
)


def differences(theirs: AdapterVersion, ours: AdapterVersion) -> list[str]:
    """A sentence for each field that both set, and to another value.

    Rank, scale and modules are here those of the weights, so they are compared as well: a trainer
    who names others has other weights in mind.
    """
    return [
        f"{path}: there {there!r}, here {here!r}"
        for name in _COMPARED
        for path, there, here in _differing(name, getattr(theirs, name), getattr(ours, name))
    ]


def _differing(path: str, there: Any, here: Any) -> Iterator[tuple[str, Any, Any]]:
    if is_dataclass(there) and is_dataclass(here):
        for field in fields(there):
            name = field.name
            yield from _differing(f"{path}.{name}", getattr(there, name), getattr(here, name))
    elif there not in (None, ()) and here not in (None, ()) and there != here:
        yield path, there, here
