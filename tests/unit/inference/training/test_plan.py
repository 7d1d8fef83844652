from pathlib import Path
from typing import Any

import pytest

from inference.training.plan import (
    ALL_PROJECTIONS,
    TrainingFigures,
    TrainingPlan,
    check_base_model,
    finished_metadata,
    plan_of,
    prompt_template_of,
    read_metadata,
)
from schemas.errors import ConfigurationError
from schemas.records import BaseModel

EXPORTED: dict[str, Any] = {
    "adapter_id": "legal-qa-v1",
    "adapter_version": "1.0.0",
    "base_model": {"name": "a-model", "version": "2"},
    "training": {
        "dataset_name": "statutes",
        "num_samples": 50000,
        "epochs": 3,
        "learning_rate": 0.0002,
        "lora_rank": 16,
        "lora_alpha": 24.0,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj", "v_proj"],
    },
    "custom": {"purpose": "test"},
}


def test_the_plan_is_what_the_exported_metadata_says() -> None:
    assert plan_of(EXPORTED) == TrainingPlan(
        rank=16,
        alpha=24.0,
        dropout=0.1,
        target_modules=("q_proj", "v_proj"),
        learning_rate=0.0002,
        epochs=3,
    )


def test_what_the_metadata_leaves_open_or_zero_is_the_default() -> None:
    assert plan_of({}) == TrainingPlan()
    assert plan_of({"training": {"epochs": 0, "learning_rate": 0.0}}) == TrainingPlan()
    assert plan_of({"training": {"lora_rank": 32}}).alpha == 64.0
    assert plan_of({"training": {}}).target_modules == ALL_PROJECTIONS


@pytest.mark.parametrize(
    "training",
    [
        "fast",
        {"lora_rank": "eight"},
        {"lora_rank": 8.5},
        {"lora_rank": -8},
        {"lora_rank": True},
        {"lora_dropout": 1.0},
        {"learning_rate": float("nan")},
        {"target_modules": "q_proj"},
    ],
)
def test_a_figure_of_the_wrong_kind_is_the_users_mistake(training: object) -> None:
    with pytest.raises(ConfigurationError, match="training"):
        plan_of({"training": training})


def test_only_given_overrides_change_the_plan() -> None:
    assert TrainingPlan().changed(epochs=None, seed=4) == TrainingPlan(seed=4)


def test_epochs_asked_for_replace_steps_asked_for_before() -> None:
    assert TrainingPlan(max_steps=9).changed(epochs=2) == TrainingPlan(epochs=2)
    assert TrainingPlan().changed(epochs=2, max_steps=9) == TrainingPlan(epochs=2, max_steps=9)


def test_the_real_figures_are_filled_in_and_the_rest_stays() -> None:
    finished = finished_metadata(
        EXPORTED,
        plan_of(EXPORTED).changed(learning_rate=0.01),
        TrainingFigures(num_samples=120, epochs=2.5, steps=40, loss=0.25),
        BaseModel("a-model", "2"),
    )
    assert finished["training"] == {
        "dataset_name": "statutes",
        "num_samples": 120,
        "epochs": 2.5,
        "learning_rate": 0.01,
        "lora_rank": 16,
        "lora_alpha": 24.0,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj", "v_proj"],
        "steps": 40,
        "final_loss": 0.25,
        "seed": 0,
    }
    assert {key: finished[key] for key in ("adapter_id", "base_model", "custom")} == {
        key: EXPORTED[key] for key in ("adapter_id", "base_model", "custom")
    }
    assert EXPORTED["training"]["num_samples"] == 50000


def test_metadata_for_another_base_model_is_refused() -> None:
    check_base_model(EXPORTED, BaseModel("a-model", "2"))
    check_base_model(EXPORTED, None)
    check_base_model({}, BaseModel("other"))
    for other in (BaseModel("other", "2"), BaseModel("a-model", "3")):
        with pytest.raises(ConfigurationError, match="asks for the base model a-model@2"):
            check_base_model(EXPORTED, other)


def test_a_prompt_template_is_found_at_the_top_or_under_custom() -> None:
    assert prompt_template_of({"prompt_template": "Q: {prompt}\nA:"}) == "Q: {prompt}\nA:"
    assert prompt_template_of({"custom": {"prompt_template": "{prompt}!"}}) == "{prompt}!"
    assert prompt_template_of(EXPORTED) is None
    with pytest.raises(ConfigurationError, match=r"must contain \{prompt\}"):
        prompt_template_of({"prompt_template": "no place"})


def test_metadata_that_is_no_json_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    for name in ("list.json", "broken.json", "missing.json"):
        with pytest.raises(ConfigurationError, match=name):
            read_metadata(tmp_path / name)
