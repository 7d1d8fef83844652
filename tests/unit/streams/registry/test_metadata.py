from typing import Any

import pytest

from schemas.errors import RegistrationRefused
from schemas.records import BaseModel, Provenance, Quality, Training, VllmInfo
from streams.registry.metadata import adapter_path, read_metadata
from tests.unit.streams.registry.factories import NOW, metadata


def test_nested_metadata_is_read_whole() -> None:
    version = read_metadata(metadata(), NOW)
    assert version.key == "legal-qa-v1@1.2.0"
    assert version.family == "legal-qa"
    assert (version.domain, version.task_type) == ("legal", "question-answering")
    assert version.languages == ("de",)
    assert version.base_model == BaseModel("demo-base", "1.0")
    assert version.training == Training(
        "legal_2024", 150, 3.0, 0.0002, 4, 8.0, 0.1, ("q_proj", "v_proj")
    )
    assert version.provenance == Provenance("ml-team", "themisdb://prod/legal")
    assert version.vllm == VllmInfo(">=0.4.0", 16)
    assert version.custom == {"compliance": "GDPR"}
    assert version.status == "active"
    assert version.created_at is not None
    assert version.created_at.isoformat() == "2026-02-28T10:00:00+00:00"


def test_flat_metadata_says_the_same() -> None:
    flat = {
        "adapter_id": "legal-qa-v1",
        "adapter_version": "1.2.0",
        "base_model": "demo-base",
        "base_model_version": "1.0",
        "domain": "legal",
        "task_type": "question-answering",
        "language": "de",
        "dataset_name": "legal_2024",
        "num_samples": 150,
        "epochs": 3,
        "learning_rate": 0.0002,
        "lora_rank": 4,
        "lora_alpha": 8.0,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj", "v_proj"],
        "created_by": "ml-team",
        "data_source_uri": "themisdb://prod/legal",
        "custom": {
            "compliance": "GDPR",
        },
        "vllm": {"vllm_version": ">=0.4.0", "max_lora_rank": 16},
        "created_at": "2026-02-28T10:00:00Z",
    }
    assert read_metadata(flat, NOW) == read_metadata(metadata(), NOW)


def test_the_wrapping_of_themisdbs_registration_call_is_taken_off() -> None:
    assert read_metadata({"adapter_metadata": metadata()}, NOW).key == "legal-qa-v1@1.2.0"


def test_the_base_model_may_be_named_flat() -> None:
    named = metadata(base_model_name="demo-base", base_model_version="2")
    del named["base_model"]
    assert read_metadata(named, NOW).base_model == BaseModel("demo-base", "2")


def test_figures_of_themisdbs_registry_are_the_quality() -> None:
    metrics = {"num_samples": 5, "compliance_rate": 0.99, "avg_response_quality": 4.5}
    assert read_metadata(metadata(metrics=metrics), NOW).quality == Quality(0.99, 4.5)


def test_what_nobody_has_set_is_missing() -> None:
    unset = {
        "dataset_name": "",
        "num_samples": 0,
        "epochs": 0,
        "learning_rate": 0.0,
        "lora_rank": 0,
        "lora_alpha": 0.0,
        "lora_dropout": 0.0,
        "target_modules": [],
    }
    version = read_metadata(
        metadata(training=unset, base_model={"name": "b", "version": ""}, custom=None), NOW
    )
    assert version.training == Training(lora_dropout=0.0)
    assert version.base_model == BaseModel("b")
    assert version.custom == {}


def test_the_time_of_registration_stands_in_for_a_missing_one() -> None:
    assert read_metadata(metadata(exported_at=None), NOW).created_at == NOW


@pytest.mark.parametrize(
    ("language", "languages"),
    [("de", ("de",)), (["de", "en"], ("de", "en")), ("de, en", ("de", "en")), ("", ()), (None, ())],
)
def test_languages_are_one_or_many(language: Any, languages: tuple[str, ...]) -> None:
    task = {"type": "qa", "domain": "legal", "language": language}
    assert read_metadata(metadata(task=task), NOW).languages == languages


def test_custom_marks_become_text() -> None:
    custom = {"use": "demo", "score": 0.5, "tags": ["a", "ä"], "nested": {"b": True}}
    assert read_metadata(metadata(custom=custom), NOW).custom == {
        "use": "demo",
        "score": "0.5",
        "tags": '["a", "ä"]',
        "nested": '{"b": true}',
    }


def test_what_is_asked_of_vllm_may_stand_among_the_custom_marks_as_text() -> None:
    custom = {"vllm_version": ">=0.4.0", "max_lora_rank": "16"}
    assert read_metadata(metadata(vllm=None, custom=custom), NOW).vllm == VllmInfo(">=0.4.0", 16)


def test_the_prompt_template_may_stand_at_the_top_or_among_the_custom_marks() -> None:
    template = "Frage: {prompt}\nAntwort:"
    assert read_metadata(metadata(prompt_template=template), NOW).prompt_template == template
    custom = {"prompt_template": template}
    assert read_metadata(metadata(custom=custom), NOW).prompt_template == template


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"adapter_id": None}, "lacks 'adapter_id'"),
        ({"adapter_version": ""}, "lacks 'adapter_version'"),
        ({"task": None}, r"lacks 'task\.domain'"),
        ({"task": {"domain": "legal"}}, r"lacks 'task\.type'"),
        ({"task": "qa"}, "'task' must be an object"),
        ({"base_model": None}, r"lacks 'base_model\.name'"),
        ({"base_model": {"version": "1"}}, r"lacks 'base_model\.name'"),
        ({"training": {"lora_rank": "8"}}, r"training\.lora_rank: expected a whole number"),
        ({"training": {"target_modules": "q"}}, r"training\.target_modules: expected a list"),
        ({"adapter_id": 5}, "adapter_id: expected text"),
        ({"exported_at": "yesterday"}, "created_at"),
        ({"vllm": {"max_lora_rank": "many"}}, r"vllm\.max_lora_rank"),
    ],
)
def test_a_missing_or_mistyped_field_is_named(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RegistrationRefused, match=reason):
        read_metadata(metadata(**changes), NOW)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, None),
        ({"vllm": {"adapter_path": "/models/a"}}, "/models/a"),
        ({"custom": {"adapter_path": "/models/b"}}, "/models/b"),
        ({"artifact": {"uri": "file:///models/c"}}, "file:///models/c"),
        ({"adapter_path": "d"}, "d"),
    ],
)
def test_the_metadata_may_say_where_the_files_lie(
    changes: dict[str, Any], path: str | None
) -> None:
    assert adapter_path(metadata(**changes)) == path


def nested(levels: int, *, in_lists: bool) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value] if in_lists else {"a": value}
    return value


@pytest.mark.parametrize("in_lists", [False, True])
@pytest.mark.parametrize("levels", [70, 600, 900])
def test_metadata_that_is_nested_too_deeply_is_refused(levels: int, in_lists: bool) -> None:
    deep = metadata(custom={"x": nested(levels, in_lists=in_lists)})
    for read in (lambda: read_metadata(deep, NOW), lambda: adapter_path(deep)):
        with pytest.raises(RegistrationRefused, match="more than 64 levels deep"):
            read()


@pytest.mark.parametrize("in_lists", [False, True])
def test_a_mark_may_be_nested(in_lists: bool) -> None:
    custom = {"x": nested(60, in_lists=in_lists)}
    assert read_metadata(metadata(custom=custom), NOW).custom["x"].count("x") == 1
