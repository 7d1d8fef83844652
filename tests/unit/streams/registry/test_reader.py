from typing import Any

import pytest

from schemas.errors import UnknownAdapter
from schemas.records import AdapterVersion
from streams.registry.examples import record_key, split
from streams.registry.reader import Registry
from tests.unit.streams.registry.factories import some_examples, version


def registry(*versions: AdapterVersion, examples: int = 3) -> Registry:
    """A registry that has read the versions and their examples, if they have any."""
    made = Registry()
    for offset, entry in enumerate(versions):
        made.apply_version(entry.key, entry, offset)
        for part in split(entry, some_examples(examples)):
            made.apply_examples(record_key(part), part)
    return made


def learnt(
    number: str = "1.0.0", adapter_id: str = "legal-qa-v1", **changes: Any
) -> AdapterVersion:
    return version(adapter_id, number, **({"example_parts": 1} | changes))


class TestRecords:
    def test_the_revision_is_the_offset_of_the_last_adapters_record(self) -> None:
        made = Registry()
        assert made.revision == -1
        made.apply_version("a", version(), 4)
        assert made.revision == 4
        made.apply_version("a", None, 7)
        assert made.revision == 7
        made.skip(9)
        assert made.revision == 9

    def test_a_record_that_comes_late_does_not_turn_the_revision_back(self) -> None:
        made = registry(version())
        made.skip(9)
        made.apply_version("b", version(number="1.0.1"), 5)
        assert made.revision == 9

    def test_a_tombstone_takes_the_version_away(self) -> None:
        made = registry(version())
        made.apply_version(version().key, None, 1)
        assert made.keys() == ()
        assert made.get(version().key) is None

    def test_a_version_that_has_no_order_is_left_out_and_the_revision_goes_on(self) -> None:
        made = Registry()
        with pytest.raises(ValueError, match=r".+"):
            made.apply_version("x", version(number="latest"), 3)
        assert made.keys() == ()
        assert made.revision == 3

    def test_a_version_that_is_retired_failed_or_gone_is_not_servable(self) -> None:
        states = ("registered", "canary", "active", "retired", "failed")
        made = registry(*(version(number=f"1.{n}.0", status=s) for n, s in enumerate(states)))
        found = [made.is_servable(version(number=f"1.{n}.0").key) for n in range(6)]
        assert found == [True, True, True, False, False, False]

    def test_versions_are_ordered_by_id_and_version(self) -> None:
        made = registry(
            version(number="1.10.0"), version(number="1.2.0"), version("a-b-v1", "1.0.0")
        )
        assert [entry.key for entry in made.versions()] == [
            "a-b-v1@1.0.0",
            "legal-qa-v1@1.2.0",
            "legal-qa-v1@1.10.0",
        ]


class TestExamples:
    def test_they_are_there_once_every_part_is(self) -> None:
        examples = some_examples(20_000)
        entry = learnt()
        parts = split(entry, examples)
        made = Registry()
        made.apply_version(entry.key, entry, 0)
        for part in reversed(parts):
            assert made.examples(entry.key) is None
            assert not made.selectable()
            made.apply_examples(record_key(part), part)
        assert made.examples(entry.key) == examples

    def test_they_may_come_before_their_version(self) -> None:
        entry = learnt()
        made = Registry()
        for part in split(entry, some_examples(3)):
            made.apply_examples(record_key(part), part)
        made.apply_version(entry.key, entry, 0)
        assert entry.key in made.selectable()

    def test_a_version_without_examples_has_none(self) -> None:
        assert registry(version(), examples=0).examples(version().key) == ()

    def test_a_tombstone_takes_its_part_away(self) -> None:
        made = registry(learnt())
        made.apply_examples("legal-qa-v1@1.0.0#0", None)
        assert made.examples("legal-qa-v1@1.0.0") is None


class TestSelectable:
    def test_the_newest_active_version_of_a_family_is_selectable(self) -> None:
        made = registry(
            learnt("1.9.0"),
            learnt("1.10.0"),
            learnt("1.11.0", status="canary"),
            learnt("1.0.0", "medical-diagnosis-v1"),
        )
        assert set(made.selectable()) == {"legal-qa-v1@1.10.0", "medical-diagnosis-v1@1.0.0"}

    def test_a_higher_major_takes_its_family_over(self) -> None:
        made = registry(learnt("1.9.0"), learnt("2.0.0", "legal-qa-v2"))
        assert set(made.selectable()) == {"legal-qa-v2@2.0.0"}

    def test_a_new_version_takes_over_only_with_all_its_examples(self) -> None:
        made = registry(learnt("1.0.0"))
        made.apply_version("legal-qa-v1@1.1.0", learnt("1.1.0"), 1)
        assert set(made.selectable()) == {"legal-qa-v1@1.0.0"}

    def test_a_version_without_examples_is_not_selectable(self) -> None:
        assert not registry(version(), examples=0).selectable()

    def test_what_selection_learns_comes_with_it(self) -> None:
        entry = registry(learnt(languages=("de",))).selectable()["legal-qa-v1@1.0.0"]
        assert entry.examples == some_examples(3)
        assert entry.languages == ("de",)


class TestReferences:
    REGISTRY = registry(
        version(number="1.0.0"),
        version(number="1.2.0"),
        version(number="1.3.0", status="canary"),
        version(number="0.9.0", status="retired"),
        version("legal-qa-v2", "2.0.0"),
        version("tax-advice-v1", "1.0.0", status="retired"),
    )

    @pytest.mark.parametrize(
        ("reference", "key"),
        [
            ("legal-qa-v1@1.0.0", "legal-qa-v1@1.0.0"),
            ("legal-qa-v1@1.3.0", "legal-qa-v1@1.3.0"),
            ("legal-qa-v1", "legal-qa-v1@1.2.0"),
            ("legal-qa-v2", "legal-qa-v2@2.0.0"),
            ("legal-qa", "legal-qa-v2@2.0.0"),
        ],
    )
    def test_a_version_an_id_and_a_family_name_a_version(self, reference: str, key: str) -> None:
        assert self.REGISTRY.resolve(reference).key == key

    def test_an_unknown_name_comes_with_near_ones(self) -> None:
        with pytest.raises(UnknownAdapter) as caught:
            self.REGISTRY.resolve("legal-qa-v3")
        assert {"legal-qa-v1", "legal-qa-v2"} <= set(caught.value.near)
        assert "Did you mean" in str(caught.value)

    def test_an_unknown_version_comes_with_the_ones_that_are_there(self) -> None:
        with pytest.raises(UnknownAdapter) as caught:
            self.REGISTRY.resolve("legal-qa-v1@1.0.1")
        assert "legal-qa-v1@1.0.0" in caught.value.near

    def test_base_misspelt_is_near_base(self) -> None:
        with pytest.raises(UnknownAdapter, match="base"):
            self.REGISTRY.resolve("bass")

    def test_nothing_like_it_is_said_plainly(self) -> None:
        with pytest.raises(UnknownAdapter) as caught:
            self.REGISTRY.resolve("zzz")
        assert str(caught.value) == "There is no adapter zzz."

    @pytest.mark.parametrize(
        ("reference", "sentence"),
        [
            ("legal-qa-v1@0.9.0", "is retired"),
            ("tax-advice-v1", "has no active version"),
            ("tax-advice", "has no active version"),
        ],
    )
    def test_what_is_out_of_use_is_said_to_be(self, reference: str, sentence: str) -> None:
        with pytest.raises(UnknownAdapter, match=f"Adapter {reference} {sentence}"):
            self.REGISTRY.resolve(reference)


class TestPrevious:
    def test_older_versions_of_the_family_that_can_be_served_the_newest_first(self) -> None:
        newest = version(number="2.0.0", adapter_id="legal-qa-v2")
        made = registry(
            version(number="1.0.0"),
            version(number="1.2.0"),
            version(number="1.1.0", status="retired"),
            version(number="1.3.0", status="failed"),
            version("medical-qa-v1", "1.0.0"),
            newest,
            version(number="3.0.0", adapter_id="legal-qa-v3"),
        )
        assert [v.adapter_version for v in made.previous(newest)] == ["1.2.0", "1.0.0"]

    def test_the_first_version_has_none_before_it(self) -> None:
        first = version()
        assert registry(first).previous(first) == []
