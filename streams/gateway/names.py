"""What a request's `model` and `lora_name` mean. Pure."""

from collections.abc import Collection
from typing import Final

from schemas.errors import UnknownAdapter
from schemas.records import BASE
from streams.registry.near import near_names
from streams.registry.reader import Registry
from streams.telemetry.operations import SELECTION

AUTOMATIC: Final = (SELECTION, "auto")
"""Names of a model that leave the choice of the adapter to selection."""


def adapter_asked_for(
    model: str | None, lora_name: str | None, registry: Registry, base_models: Collection[str]
) -> str | None:
    """The query's `adapter`, as it was named, so that a family's traffic split applies.

    None leaves the choice to selection: no name, one of AUTOMATIC, or a base model's. A
    `lora_name` goes before the model. Raises: UnknownAdapter, with near names.
    """
    name = lora_name or model
    if not name or name in AUTOMATIC or name in base_models:
        return None
    if name == BASE:
        return BASE
    try:
        registry.resolve(name)
    except UnknownAdapter as error:
        others = sorted({*AUTOMATIC, *base_models}, reverse=True)
        if error.near or not (near := near_names(name, others)):
            raise
        raise UnknownAdapter(name, near) from error
    return name
