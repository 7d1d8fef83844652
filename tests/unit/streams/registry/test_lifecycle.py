from dataclasses import replace

import pytest

from schemas.errors import ChangeRefused, RegistryConflict
from streams.registry.change import MOST_PREVIOUS, Intent
from streams.registry.lifecycle import promoted, retired, rolled_back, split
from tests.unit.streams.registry.factories import NOW, version
from tests.unit.streams.registry.lives import ANNA, V1, V1_1, V2, Life, now, of_two_majors, promote

FAMILY = "legal-qa"
NINETY_TEN = {V1.key: 90.0, V2.key: 10.0}


class TestRegistering:
    def test_the_first_version_of_a_family_serves_at_once(self) -> None:
        life = Life()
        life.register(V1)
        assert life.states() == {"1.0.0": "active"}
        assert life.shares() == {"1.0.0": 100.0}
        assert life.registry.traffic(FAMILY).revision == 1

    def test_a_later_one_changes_nothing_for_anybody(self) -> None:
        life = of_two_majors()
        assert life.states() == {"1.0.0": "active"}
        assert life.shares() == {"1.0.0": 100.0}
        assert life.registry.traffic(FAMILY).revision == 1

    def test_one_serves_at_once_where_nobody_of_its_family_does_any_more(self) -> None:
        life = Life()
        life.register(V1)
        life.do(retired, now(life, V1), even_the_last=True)
        life.register(V1_1)
        assert life.states() == {"1.0.0": "retired", "1.1.0": "active"}

    def test_it_leaves_an_event_with_who_and_when(self) -> None:
        life = of_two_majors()
        first, *_, last = [event for change in life.changes for event in change.events]
        assert (first.event, first.adapter, first.to_status) == ("registered", V1.key, "active")
        assert (first.actor, first.reason, first.created_at) == ("anna", "Because.", NOW)
        assert (last.adapter, last.from_status, last.to_status) == (V2.key, None, "registered")


class TestPromoting:
    def test_it_takes_all_and_the_one_before_of_its_id_stands_by(self) -> None:
        life = of_two_majors()
        promote(life, V1_1)
        assert life.shares() == {"1.1.0": 100.0}
        assert life.states() == {"1.1.0": "active"}

    def test_another_major_stays_active_for_queries_that_name_its_id(self) -> None:
        life = of_two_majors()
        promote(life, V2)
        assert life.shares() == {"2.0.0": 100.0}
        assert life.states() == {"1.0.0": "active", "2.0.0": "active"}
        assert life.registry.resolve(FAMILY).key == V2.key
        assert life.registry.resolve("legal-qa-v1").key == V1.key

    def test_every_step_is_an_event_the_first_about_the_promotion(self) -> None:
        life = of_two_majors()
        promote(life, V1_1)
        promotion, superseded = life.changes[-1].events
        assert (promotion.event, promotion.adapter) == ("promoted", V1_1.key)
        assert (promotion.from_status, promotion.to_status) == ("registered", "active")
        assert promotion.shares == {V1_1.key: 100.0}
        assert promotion.revision == superseded.revision == 2
        assert (superseded.event, superseded.adapter) == ("superseded", V1.key)
        assert (superseded.from_status, superseded.to_status) == ("active", "registered")

    def test_whoever_serves_next_is_written_first_so_that_somebody_always_does(self) -> None:
        life = of_two_majors()
        promote(life, V1_1)
        assert [v.key for v in life.changes[-1].versions] == [V1_1.key, V1.key]

    def test_what_takes_all_already_is_refused(self) -> None:
        life = of_two_majors()
        with pytest.raises(ChangeRefused, match="takes all of legal-qa"):
            promote(life, V1)

    def test_an_arm_of_a_split_may_take_the_rest(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, NINETY_TEN)
        promote(life, V1)
        assert life.shares() == {"1.0.0": 100.0}

    @pytest.mark.parametrize("state", ["retired", "failed"])
    def test_by_its_name_even_one_out_of_use_comes_back(self, state: str) -> None:
        life = of_two_majors()
        life.registry.apply_version(V2.key, replace(V2, status=state), 99)  # type: ignore[arg-type]
        promote(life, V2)
        assert life.states()["2.0.0"] == "active"

    def test_of_several_active_ones_as_there_were_without_a_split_one_is_left(self) -> None:
        life = Life()
        for offset, each in enumerate((V1, V1_1)):
            life.registry.apply_version(each.key, each, offset)
        assert life.shares() == {"1.1.0": 1.0}
        promote(life, V1)
        assert life.states() == {"1.0.0": "active"}
        life.do(rolled_back, FAMILY)
        assert life.shares() == {"1.1.0": 1.0}


class TestSplitting:
    def test_arms_are_active_and_named_by_their_majors(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, NINETY_TEN)
        shares = life.registry.shares(FAMILY)
        assert [(share.variant, share.weight) for share in shares] == [("v1", 90), ("v2", 10)]
        assert life.states() == {"1.0.0": "active", "2.0.0": "active"}

    def test_two_versions_of_one_id_are_told_apart_and_both_active(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, {V1.key: 1.0, V1_1.key: 1.0, V2.key: 1.0})
        names = [share.variant for share in life.registry.shares(FAMILY)]
        assert names == ["v1@1.0.0", "v1@1.1.0", "v2"]
        assert set(life.states().values()) == {"active"}

    def test_the_event_has_the_whole_split_and_each_new_arm_one_of_its_own(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, NINETY_TEN)
        whole, arm = life.changes[-1].events
        assert (whole.event, whole.adapter, dict(whole.shares)) == ("split", None, NINETY_TEN)
        assert (arm.event, arm.adapter) == ("activated", V2.key)
        assert (arm.from_status, arm.to_status) == ("registered", "active")

    def test_the_same_split_again_is_refused(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, NINETY_TEN)
        with pytest.raises(ChangeRefused, match="already"):
            life.do(split, FAMILY, NINETY_TEN)

    def test_versions_of_other_families_are_refused(self) -> None:
        life = of_two_majors()
        life.register(version("tax-advice-v1", "1.0.0"))
        with pytest.raises(ChangeRefused, match="legal-qa has no version tax-advice-v1"):
            life.do(split, FAMILY, {V1.key: 1.0, "tax-advice-v1@1.0.0": 1.0})


class TestRollingBack:
    def test_the_split_before_comes_back_range_by_range_and_the_newcomer_has_failed(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, {V1.key: 50.0, V1_1.key: 50.0})
        before = life.registry.shares(FAMILY)
        promote(life, V2)
        life.do(rolled_back, FAMILY)
        assert life.registry.shares(FAMILY) == before
        assert life.states() == {"1.0.0": "active", "1.1.0": "active", "2.0.0": "failed"}
        assert life.registry.traffic(FAMILY).revision == 4

    def test_each_goes_back_one_step_more(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, NINETY_TEN)
        promote(life, V2)
        life.do(rolled_back, FAMILY)
        assert life.shares() == {"1.0.0": 90.0, "2.0.0": 10.0}
        assert life.states() == {"1.0.0": "active", "2.0.0": "active"}
        life.do(rolled_back, FAMILY)
        assert life.shares() == {"1.0.0": 100.0}
        assert life.states() == {"1.0.0": "active", "2.0.0": "failed"}
        with pytest.raises(ChangeRefused, match="no split before this one"):
            life.do(rolled_back, FAMILY)

    def test_what_has_failed_meanwhile_does_not_come_back(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, {V1.key: 1.0, V1_1.key: 1.0})
        promote(life, V2)
        life.registry.apply_version(V1_1.key, replace(V1_1, status="failed"), 99)
        with pytest.raises(ChangeRefused, match=r"legal-qa-v1@1\.1\.0, which is failed"):
            life.do(rolled_back, FAMILY)

    def test_it_is_recorded_with_what_it_led_to(self) -> None:
        life = of_two_majors()
        promote(life, V1_1)
        life.do(rolled_back, FAMILY)
        event, *states = life.changes[-1].events
        assert (event.event, dict(event.shares)) == ("rolled_back", {V1.key: 100.0})
        assert [(e.event, e.adapter, e.to_status) for e in states] == [
            ("activated", V1.key, "active"),
            ("failed", V1_1.key, "failed"),
        ]

    def test_no_more_is_remembered_than_is_said(self) -> None:
        life = of_two_majors()
        for weight in range(1, 15):
            life.do(split, FAMILY, {V1.key: 100.0, V2.key: float(weight)})
        assert len(life.registry.traffic(FAMILY).previous) == MOST_PREVIOUS
        for _ in range(MOST_PREVIOUS):
            life.do(rolled_back, FAMILY)
        assert life.shares() == {"1.0.0": 100.0, "2.0.0": 4.0}


class TestRetiring:
    def test_its_share_goes_to_the_others(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, NINETY_TEN)
        life.do(retired, now(life, V1))
        assert life.shares() == {"2.0.0": 10.0}
        assert life.states() == {"1.0.0": "retired", "2.0.0": "active"}

    def test_one_without_a_share_leaves_the_split_alone(self) -> None:
        life = of_two_majors()
        change = life.do(retired, now(life, V1_1))
        assert change.traffic is None
        assert life.states() == {"1.0.0": "active", "1.1.0": "retired"}

    def test_the_last_one_goes_only_on_purpose(self) -> None:
        life = of_two_majors()
        with pytest.raises(ChangeRefused, match="promote another version first"):
            life.do(retired, now(life, V1))
        life.do(retired, now(life, V1), even_the_last=True)
        assert life.shares() == {}

    def test_who_would_answer_after_the_last_one_is_told(self) -> None:
        life = of_two_majors()
        with pytest.raises(ChangeRefused, match="which nobody would answer then"):
            life.do(retired, now(life, V1))
        promote(life, V2)
        with pytest.raises(ChangeRefused, match=r"which legal-qa-v1@1\.0\.0 would answer then"):
            life.do(retired, now(life, V2))
        life.do(retired, now(life, V2), even_the_last=True)
        assert life.registry.resolve(FAMILY).key == V1.key

    def test_no_rollback_brings_it_back(self) -> None:
        life = of_two_majors()
        promote(life, V1_1)
        life.do(retired, now(life, V1))
        with pytest.raises(ChangeRefused, match="no split before this one"):
            life.do(rolled_back, FAMILY)

    def test_nor_does_one_whose_version_was_retired_by_another_hand(self) -> None:
        life = of_two_majors()
        promote(life, V2)
        life.registry.apply_version(V1.key, replace(V1, status="retired"), 99)
        with pytest.raises(ChangeRefused, match=r"legal-qa-v1@1\.0\.0, which is retired"):
            life.do(rolled_back, FAMILY)

    def test_twice_is_refused(self) -> None:
        life = of_two_majors()
        life.do(retired, now(life, V2))
        with pytest.raises(ChangeRefused, match="retired already"):
            life.do(retired, now(life, V2))


class TestExpectedRevisions:
    def test_whoever_looked_before_somebody_elses_change_is_told_whose(self) -> None:
        life = of_two_majors()
        ben = Intent("ben", NOW, expected_revision=1)
        life.apply(split(life.registry, FAMILY, NINETY_TEN, ben))
        late = replace(ANNA, expected_revision=1)
        for plan in (
            lambda: promoted(life.registry, now(life, V2), late),
            lambda: split(life.registry, FAMILY, {V1.key: 1.0, V2.key: 1.0}, late),
            lambda: rolled_back(life.registry, FAMILY, late),
            lambda: retired(life.registry, now(life, V2), late),
        ):
            with pytest.raises(RegistryConflict, match=r"revision 2, not 1.* by ben .*try again"):
                plan()
