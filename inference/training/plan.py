"""What to train, from the metadata JSON that ThemisDB exports, and the JSON that results."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError
from schemas.records import BaseModel

ALL_PROJECTIONS = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)
"""Every linear layer of a Llama block; what is trained where the metadata names no modules."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """The figures of one training run.

    `max_steps` (optimizer steps) goes before `epochs`. `tokens_per_batch` counts padding too;
    `max_length` is in tokens, longer rows are left out. `noise` is the share of questions of each
    epoch that get a changed wording.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ALL_PROJECTIONS
    learning_rate: float = 2e-4
    epochs: float = 3.0
    max_steps: int | None = None
    tokens_per_batch: int = 2048
    max_length: int = 1024
    noise: float = 0.0
    seed: int = 0

    def changed(self, **overrides: Any) -> "TrainingPlan":
        """The plan with those of `overrides` that are not None; epochs drop older steps."""
        given = {name: value for name, value in overrides.items() if value is not None}
        if "epochs" in given:
            given.setdefault("max_steps", None)
        return replace(self, **given)


@dataclass(frozen=True, slots=True)
class TrainingFigures:
    """What a finished run adds to the metadata; `loss` is the final one per answer token."""

    num_samples: int
    epochs: float
    steps: int
    loss: float


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata JSON as it stands. Raises ConfigurationError if it is no JSON object."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(
            f"The metadata file {path} cannot be read: {error.strerror}."
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"The metadata file {path} is not JSON: {error}.") from None
    if not isinstance(metadata, dict):
        raise ConfigurationError(f"The metadata file {path} must hold one JSON object.")
    return metadata


def plan_of(metadata: Mapping[str, Any]) -> TrainingPlan:
    """The plan that ``training`` in the metadata asks for, our defaults where it is silent.

    Raises ConfigurationError where a figure has the wrong type or range.
    """
    training = metadata.get("training") or {}
    if not isinstance(training, Mapping):
        raise ConfigurationError('"training" in the metadata must be an object.')
    rank = _whole(training, "lora_rank")
    return TrainingPlan().changed(
        rank=rank,
        # PEFT scales by alpha / rank; twice the rank is the usual choice.
        alpha=_positive(training, "lora_alpha") or (2.0 * rank if rank else None),
        dropout=_share(training, "lora_dropout"),
        target_modules=_modules(training),
        learning_rate=_positive(training, "learning_rate"),
        epochs=_positive(training, "epochs"),
        max_steps=_whole(training, "max_steps"),
    )


def prompt_template_of(metadata: Mapping[str, Any]) -> str | None:
    """The adapter's own prompt template, at the top level or under ``custom``."""
    custom = metadata.get("custom")
    template = metadata.get("prompt_template")
    if template is None and isinstance(custom, Mapping):
        template = custom.get("prompt_template")
    if template is None:
        return None
    if not isinstance(template, str) or "{prompt}" not in template:
        raise ConfigurationError('"prompt_template" in the metadata must contain {prompt}.')
    return template


def check_base_model(metadata: Mapping[str, Any], base: BaseModel | None) -> None:
    """Raise ConfigurationError where the metadata was written for another base model.

    `base` is None for a model that does not say its name: then there is nothing to compare.
    """
    named = metadata.get("base_model") or {}
    if base is None or not isinstance(named, Mapping) or not named.get("name"):
        return
    wanted = BaseModel(named["name"], named.get("version") or None)
    if wanted.name != base.name or (wanted.version and wanted.version != base.version):
        raise ConfigurationError(
            f"The metadata asks for the base model {wanted}, but --base is {base}."
        )


def finished_metadata(
    metadata: Mapping[str, Any],
    plan: TrainingPlan,
    figures: TrainingFigures,
    base: BaseModel | None,
) -> dict[str, Any]:
    """The metadata with what was really trained in it; nothing else of it changes."""
    finished = copy.deepcopy(dict(metadata))
    if base is not None:
        finished["base_model"] = {"name": base.name, "version": base.version}
    finished["training"] = {
        **(finished.get("training") or {}),
        "num_samples": figures.num_samples,
        "epochs": round(figures.epochs, 2),
        "learning_rate": plan.learning_rate,
        "lora_rank": plan.rank,
        "lora_alpha": plan.alpha,
        "lora_dropout": plan.dropout,
        "target_modules": list(plan.target_modules),
        "steps": figures.steps,
        "final_loss": round(figures.loss, 6),
        "seed": plan.seed,
    }
    return finished


def _number(training: Mapping[str, Any], field: str) -> float | None:
    value = training.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f'"training.{field}" must be a number, not {value!r}.')
    return value


def _positive(training: Mapping[str, Any], field: str) -> float | None:
    value = _number(training, field)
    # ThemisDB writes 0 for what nobody has set.
    if value is None or value == 0:
        return None
    if not 0 < value < float("inf"):
        raise ConfigurationError(f'"training.{field}" must be above 0, not {value!r}.')
    return value


def _whole(training: Mapping[str, Any], field: str) -> int | None:
    value = _positive(training, field)
    if value is not None and value != int(value):
        raise ConfigurationError(f'"training.{field}" must be a whole number, not {value!r}.')
    return None if value is None else int(value)


def _share(training: Mapping[str, Any], field: str) -> float | None:
    value = _number(training, field)
    if value is not None and not 0 <= value < 1:
        raise ConfigurationError(f'"training.{field}" must be from 0 to below 1, not {value!r}.')
    return value


def _modules(training: Mapping[str, Any]) -> tuple[str, ...] | None:
    modules = training.get("target_modules")
    if not modules:
        return None
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise ConfigurationError('"training.target_modules" must be a list of module names.')
    return tuple(modules)
