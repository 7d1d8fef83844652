from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UnknownAdapter
from schemas.records import AdapterVersion, ExampleSet, Traffic, TrafficShare
from streams.registry.examples import record_key, split
from streams.registry.reader import Registry
from streams.registry.version import split_key
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


def divided(made: Registry, **weights: float) -> Registry:
    """The registry with legal-qa split over its versions, such as v1_0=90."""
    keys = {"v1_0": "legal-qa-v1@1.0.0", "v1_1": "legal-qa-v1@1.1.0", "v2_0": "legal-qa-v2@2.0.0"}
    shares = (TrafficShare(keys[name], weight, name) for name, weight in weights.items())
    made.apply_traffic("legal-qa", Traffic("legal-qa", 1, tuple(shares)))
    return made


def three(**states: str) -> Registry:
    """legal-qa-v1 in two versions and legal-qa-v2 in one, all with examples."""
    return registry(
        learnt("1.0.0", status=states.get("v1_0", "active")),
        learnt("1.1.0", status=states.get("v1_1", "registered")),
        learnt("2.0.0", "legal-qa-v2", status=states.get("v2_0", "active")),
    )


class TestSplits:
    def counts(self, made: Registry, reference: str) -> Counter[str | None]:
        return Counter(made.choose(reference, f"s{n}").variant for n in range(1000))

    def test_a_familys_queries_go_by_its_split(self) -> None:
        counts = self.counts(divided(three(), v1_0=90, v2_0=10), "legal-qa")
        assert counts.keys() == {"v1_0", "v2_0"}
        assert 850 < counts["v1_0"] < 950

    def test_those_of_an_id_are_split_among_its_own_versions(self) -> None:
        made = divided(three(), v1_0=30, v1_1=30, v2_0=40)
        counts = self.counts(made, "legal-qa-v1")
        assert counts.keys() == {"v1_0", "v1_1"}
        assert 420 < counts["v1_0"] < 580

    def test_an_id_without_a_share_is_answered_by_its_active_version(self) -> None:
        chosen = divided(three(), v2_0=1).choose("legal-qa-v1", "s")
        assert (chosen.version.key, chosen.variant) == ("legal-qa-v1@1.0.0", "v1")

    def test_an_exact_version_passes_the_split_by(self) -> None:
        made = divided(three(), v1_0=1)
        for key in ("legal-qa-v1@1.0.0", "legal-qa-v1@1.1.0"):
            chosen = made.choose(key, "s")
            assert (chosen.version.key, chosen.variant) == (key, None)

    def test_without_a_split_the_newest_active_version_answers_as_its_only_arm(self) -> None:
        chosen = three().choose("legal-qa", "s")
        assert (chosen.version.key, chosen.variant) == ("legal-qa-v2@2.0.0", "v2")
        assert [s.adapter for s in three().shares("legal-qa")] == ["legal-qa-v2@2.0.0"]

    @pytest.mark.parametrize("state", ["retired", "failed"])
    def test_an_arm_that_is_out_of_use_leaves_its_sessions_to_the_others(self, state: str) -> None:
        made = divided(three(v2_0=state), v1_0=50, v2_0=50)
        assert self.counts(made, "legal-qa") == {"v1_0": 1000}
        assert [share.variant for share in made.shares("legal-qa")] == ["v1_0"]

    def test_a_split_of_none_that_may_answer_counts_as_none(self) -> None:
        made = divided(three(v2_0="retired"), v2_0=1)
        assert made.choose("legal-qa", "s").version.key == "legal-qa-v1@1.0.0"

    def test_a_tombstone_takes_the_split_away(self) -> None:
        made = divided(three(), v1_0=1)
        made.apply_traffic("legal-qa", None)
        assert made.traffic("legal-qa") == Traffic("legal-qa")
        assert made.resolve("legal-qa").key == "legal-qa-v2@2.0.0"

    def test_a_family_that_a_name_leaves_open_is_its_largest_share(self) -> None:
        made = divided(three(), v1_0=50, v1_1=51, v2_0=10)
        assert made.resolve("legal-qa").key == "legal-qa-v1@1.1.0"
        assert made.resolve("legal-qa-v2").key == "legal-qa-v2@2.0.0"

    def test_the_largest_share_stands_for_its_family_in_selection(self) -> None:
        assert set(divided(three(), v1_0=60, v2_0=40).selectable()) == {"legal-qa-v1@1.0.0"}
        assert set(divided(three(), v1_0=40, v2_0=60).selectable()) == {"legal-qa-v2@2.0.0"}
        assert set(divided(three(), v1_0=50, v2_0=50).selectable()) == {"legal-qa-v2@2.0.0"}

    def test_an_arm_without_examples_leaves_selection_to_another(self) -> None:
        made = registry(learnt("1.0.0"))
        made.apply_version("legal-qa-v2@2.0.0", learnt("2.0.0", "legal-qa-v2"), 1)
        divided(made, v1_0=10, v2_0=90)
        assert set(made.selectable()) == {"legal-qa-v1@1.0.0"}
        divided(made, v2_0=100)
        assert set(made.selectable()) == {"legal-qa-v1@1.0.0"}

    def test_what_selection_has_chosen_is_split_over_the_family(self) -> None:
        made = divided(three(), v1_0=50, v2_0=50)
        (key,) = made.selectable()
        chosen = [made.choose_selected(key, f"s{n}") for n in range(200)]
        assert {c.variant for c in chosen if c} == {"v1_0", "v2_0"}
        assert [c for c in chosen if c] == [made.choose("legal-qa", f"s{n}") for n in range(200)]
        assert made.choose_selected("tax-advice-v1@1.0.0", "s") is None

    def test_what_is_chosen_while_its_split_is_on_its_way_stays_chosen(self) -> None:
        chosen = three().choose_selected("legal-qa-v1@1.0.0", "s")
        assert chosen is not None
        assert (chosen.version.key, chosen.variant) == ("legal-qa-v1@1.0.0", "v1")

    def test_where_it_is_out_of_use_by_now_an_active_one_of_its_family_answers(self) -> None:
        chosen = three(v1_0="retired").choose_selected("legal-qa-v1@1.0.0", "s")
        assert chosen is not None
        assert (chosen.version.key, chosen.variant) == ("legal-qa-v2@2.0.0", "v2")
        assert registry(learnt(status="retired")).choose_selected("legal-qa-v1@1.0.0", "s") is None

    def test_an_arm_too_small_for_a_single_session_answers_whoever_names_its_id(self) -> None:
        made = divided(three(), v1_0=1e9, v2_0=1)
        assert self.counts(made, "legal-qa") == {"v1_0": 1000}
        assert made.choose("legal-qa-v2", "s").version.key == "legal-qa-v2@2.0.0"


KEYS = ("legal-qa-v1@1.0.0", "legal-qa-v1@1.1.0", "legal-qa-v2@2.0.0", "tax-qa-v1@1.0.0")
FAMILIES = ("legal-qa", "tax-qa")
Change = Callable[[Registry], None]


def version_change(key: str, **changes: Any) -> Change:
    made = learnt(split_key(key)[1], split_key(key)[0], **changes)
    return lambda registry: registry.apply_version(key, made, 0)


def examples_change(key: str, count: int) -> Change:
    part = ExampleSet(*split_key(key), 0, 1, some_examples(count))
    return lambda registry: registry.apply_examples(f"{key}#0", part)


def traffic_change(family: str, weights: dict[str, int]) -> Change:
    shares = tuple(TrafficShare(key, weight) for key, weight in weights.items())
    return lambda registry: registry.apply_traffic(family, Traffic(family, 1, shares))


keys, families = st.sampled_from(KEYS), st.sampled_from(FAMILIES)
changes = st.one_of(
    st.builds(
        version_change,
        keys,
        status=st.sampled_from(["active", "retired"]),
        family=families,
        example_parts=st.integers(0, 1),
    ),
    keys.map(lambda key: lambda registry: registry.apply_version(key, None, 0)),
    st.builds(examples_change, keys, st.integers(1, 3)),
    keys.map(lambda key: lambda registry: registry.apply_examples(f"{key}#0", None)),
    st.builds(traffic_change, families, st.dictionaries(keys, st.integers(1, 3))),
    families.map(lambda family: lambda registry: registry.apply_traffic(family, None)),
)


@given(st.lists(changes, min_size=5, max_size=20))
def test_what_is_kept_between_changes_is_what_all_records_add_up_to(later: list[Change]) -> None:
    records = [*(version_change(key) for key in KEYS), *later]
    read_after_each = Registry()
    for count, change in enumerate(records, 1):
        change(read_after_each)
        read_once = Registry()
        for other in records[:count]:
            other(read_once)
        assert read_after_each.selectable() == read_once.selectable()
        for family in (*FAMILIES, "nobody"):
            assert read_after_each.shares(family) == read_once.shares(family)


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

    def test_the_names_that_are_near_are_those_of_now(self) -> None:
        def near() -> tuple[str, ...]:
            with pytest.raises(UnknownAdapter) as caught:
                made.resolve("legal-qa-v2@2.0.1")
            return caught.value.near

        made, newer = registry(version()), version("legal-qa-v2", "2.0.0")
        assert near() == ("legal-qa-v1@1.0.0", "legal-qa-v1", "legal-qa")
        made.apply_version(newer.key, newer, 1)
        assert near() == ("legal-qa-v2@2.0.0", "legal-qa-v1@1.0.0", "legal-qa-v2")
        made.apply_version(newer.key, replace(newer, status="retired"), 2)
        assert near() == ("legal-qa-v1@1.0.0", "legal-qa-v1", "legal-qa")

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

    def test_active_ones_come_before_those_that_stand_by(self) -> None:
        made = registry(
            version(number="1.0.0"),
            version(number="1.1.0", status="registered"),
            version(number="2.0.0", adapter_id="legal-qa-v2"),
        )
        found = made.older("legal-qa-v2")
        assert [v.adapter_version for v in found] == ["1.0.0", "1.1.0"]
        assert made.older("legal-qa-v1@1.1.0") == [version(number="1.0.0")]
        assert made.older("nobody") == []

    def test_the_first_version_has_none_before_it(self) -> None:
        first = version()
        assert registry(first).previous(first) == []
