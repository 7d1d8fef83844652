"""What a model's name means."""

import pytest

from schemas.errors import UnknownAdapter
from schemas.records import Traffic, TrafficShare
from streams.gateway.catalogue import catalogue, entry
from streams.gateway.names import adapter_asked_for
from streams.registry.reader import Registry
from tests.unit.streams.registry.factories import version

BASE_MODELS = ("demo-base",)


@pytest.fixture
def registry() -> Registry:
    """legal-qa in two versions and a third that is to come, and one that is retired."""
    known = Registry()
    for offset, adapter in enumerate(
        (
            version("legal-qa-v1", "1.0.0"),
            version("legal-qa-v2", "2.0.0"),
            version("legal-qa-v2", "2.1.0", status="registered"),
            version("tax-qa-v1", "1.0.0", status="retired"),
        )
    ):
        known.apply_version(adapter.key, adapter, offset)
    return known


@pytest.mark.parametrize("model", [None, "", "lorelay", "auto", "demo-base"])
def test_these_leave_the_choice_to_selection(registry: Registry, model: str | None) -> None:
    assert adapter_asked_for(model, None, registry, BASE_MODELS) is None


@pytest.mark.parametrize("name", ["legal-qa", "legal-qa-v1", "legal-qa-v2@2.1.0", "base"])
def test_an_adapter_is_passed_on_as_it_was_named(registry: Registry, name: str) -> None:
    assert adapter_asked_for(name, None, registry, BASE_MODELS) == name
    assert adapter_asked_for("demo-base", name, registry, BASE_MODELS) == name


def test_an_empty_lora_name_is_none(registry: Registry) -> None:
    assert adapter_asked_for("legal-qa", "", registry, BASE_MODELS) == "legal-qa"


def test_a_lora_name_goes_before_a_model_that_nobody_knows(registry: Registry) -> None:
    assert adapter_asked_for("mistral", "legal-qa-v1", registry, BASE_MODELS) == "legal-qa-v1"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("legal-qs", "Did you mean legal-qa"),
        ("demo-bass", "Did you mean demo-base"),
        ("tax-qa-v1@1.0.0", "is retired"),
        ("tax-qa", "has no active version"),
        ("gpt-5", "There is no adapter gpt-5"),
    ],
)
def test_an_unknown_name_is_told_what_is_near_or_why(
    registry: Registry, name: str, hint: str
) -> None:
    with pytest.raises(UnknownAdapter, match=hint):
        adapter_asked_for(name, None, registry, BASE_MODELS)
    with pytest.raises(UnknownAdapter, match=hint):
        entry(name, registry, BASE_MODELS)


def test_the_catalogue_holds_every_name_that_is_understood(registry: Registry) -> None:
    found = {model["id"]: model for model in catalogue(registry, BASE_MODELS)}
    assert set(found) == {
        *("lorelay", "auto", "demo-base", "base", "legal-qa", "legal-qa-v1", "legal-qa-v2"),
        *("legal-qa-v1@1.0.0", "legal-qa-v2@2.0.0", "legal-qa-v2@2.1.0"),
    }
    assert found["legal-qa"]["root"] == "legal-qa-v2@2.0.0"
    assert found["legal-qa"]["lorelay"]["kind"] == "family"
    for name, model in found.items():
        adapter_asked_for(name, None, registry, BASE_MODELS)
        assert entry(name, registry, BASE_MODELS) == model


def test_a_canary_is_listed_by_its_id(registry: Registry) -> None:
    canary = version("legal-qa-v3", "3.0.0", status="canary")
    registry.apply_version(canary.key, canary, 4)
    shares = (TrafficShare("legal-qa-v2@2.0.0", 90), TrafficShare(canary.key, 10))
    registry.apply_traffic("legal-qa", Traffic("legal-qa", shares=shares))
    assert adapter_asked_for("legal-qa-v3", None, registry, BASE_MODELS) == "legal-qa-v3"
    assert entry("legal-qa-v3", registry, BASE_MODELS)["root"] == canary.key
