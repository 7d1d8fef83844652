"""Two registries on the same version."""

from schemas.records import BaseModel, Quality, Training
from streams.registry.differences import differences
from tests.unit.streams.registry.factories import version


def test_what_only_one_of_them_says_is_no_difference() -> None:
    theirs = version(languages=("de",), training=Training(), quality=Quality(0.9, 4.5))
    assert differences(theirs, version()) == []


def test_each_field_that_differs_is_named_with_both_values() -> None:
    theirs = version(base_model=BaseModel("other", "1.0"), training=Training(lora_rank=16))
    assert differences(theirs, version()) == [
        "base_model.name: there 'other', here 'demo-base'",
        "training.lora_rank: there 16, here 8",
    ]


def test_a_state_is_no_part_of_what_a_version_is() -> None:
    assert differences(version(status="retired"), version()) == []
