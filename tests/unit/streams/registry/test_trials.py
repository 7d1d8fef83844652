from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.errors import ChangeRefused
from schemas.records import AdapterVersion, Canary
from streams.registry.change import Change
from streams.registry.lifecycle import retired, rolled_back, split
from streams.registry.trials import (
    canary_failed,
    canary_passed,
    canary_started,
    canary_undecided,
)
from tests.unit.streams.registry.factories import NOW, version
from tests.unit.streams.registry.lives import V1, V1_1, V2, Life, now, of_two_majors, promote

FAMILY = "legal-qa"
NINETY_TEN = {V1.key: 90.0, V2.key: 10.0}


def plan(wanted: AdapterVersion = V2, share: float = 10.0, *, shadow: bool = False) -> Canary:
    return Canary(
        adapter=wanted.key,
        share=share,
        shadow=shadow,
        started_at=NOW,
        ends_at=NOW + timedelta(minutes=30),
    )


class TestCanaries:
    def started(self, wanted: Canary | None = None) -> Life:
        life = of_two_majors()
        life.do(canary_started, wanted or plan())
        return life

    def test_one_gets_its_share_and_the_others_keep_theirs_among_themselves(self) -> None:
        life = of_two_majors()
        life.do(split, FAMILY, {V1.key: 3.0, V1_1.key: 1.0})
        life.do(canary_started, plan(share=20.0))
        assert life.shares() == {"1.0.0": 60.0, "1.1.0": 20.0, "2.0.0": 20.0}
        assert life.states() == {"1.0.0": "active", "1.1.0": "active", "2.0.0": "canary"}
        names = [share.variant for share in life.registry.shares(FAMILY)]
        assert names == ["v1@1.0.0", "v1@1.1.0", "v2"]
        assert life.registry.traffic(FAMILY).canary == plan(share=20.0)

    def test_by_a_clock_that_is_behind_it_begins_no_sooner_than_the_split_before_was_made(
        self,
    ) -> None:
        life = self.started()
        life.do(canary_failed, FAMILY)
        behind = replace(plan(), started_at=NOW - timedelta(minutes=10))
        life.do(canary_started, behind)
        assert life.registry.traffic(FAMILY).canary == plan()

    def test_it_moves_its_share_of_the_sessions_and_no_more(self) -> None:
        life = of_two_majors()
        life.do(canary_started, plan())
        old, new = life.registry.shares(FAMILY)
        assert (old.ranges, new.ranges) == ((0, 900_000), (900_000, 1_000_000))

    def test_a_newer_version_of_the_same_id_leaves_the_active_one_active(self) -> None:
        life = self.started(plan(V1_1))
        assert life.states() == {"1.0.0": "active", "1.1.0": "canary"}

    def test_one_that_passes_is_promoted_and_a_rollback_leads_to_before_the_trial(self) -> None:
        life = self.started()
        life.do(canary_passed, FAMILY)
        assert life.shares() == {"2.0.0": 100.0}
        assert life.states() == {"1.0.0": "active", "2.0.0": "active"}
        assert life.registry.traffic(FAMILY).canary is None
        event = life.changes[-1].events[0]
        assert (event.event, event.from_status, event.to_status) == ("promoted", "canary", "active")
        life.do(rolled_back, FAMILY)
        assert life.shares() == {"1.0.0": 100.0}

    def test_one_that_fails_leaves_everything_as_it_was(self) -> None:
        life = self.started()
        life.do(canary_failed, FAMILY)
        assert life.shares() == {"1.0.0": 100.0}
        assert life.states() == {"1.0.0": "active", "2.0.0": "failed"}
        names = [(event.event, event.adapter) for event in life.changes[-1].events]
        assert names == [("rolled_back", None), ("failed", V2.key)]
        assert life.registry.traffic(FAMILY).previous == ()

    def test_one_that_nothing_is_known_of_stands_by_again(self) -> None:
        life = self.started()
        life.do(canary_undecided, FAMILY)
        assert life.shares() == {"1.0.0": 100.0}
        assert life.states() == {"1.0.0": "active"}
        (event,) = life.changes[-1].events
        assert (event.event, event.adapter) == ("canary_undecided", V2.key)
        assert (event.from_status, event.to_status) == ("canary", "registered")

    @pytest.mark.parametrize("by_hand", ["promote", "split", "rollback"])
    def test_whoever_steers_by_hand_ends_the_trial(self, by_hand: str) -> None:
        life = self.started()
        if by_hand == "promote":
            promote(life, V1_1)
        elif by_hand == "split":
            life.do(split, FAMILY, {V1.key: 1.0, V1_1.key: 1.0})
        else:
            life.do(rolled_back, FAMILY)
        assert life.registry.traffic(FAMILY).canary is None
        assert "canary" not in life.states().values()
        with pytest.raises(ChangeRefused, match="No version of legal-qa is on trial"):
            life.do(canary_passed, FAMILY)

    @pytest.mark.parametrize("by_hand", ["promote", "split"])
    def test_so_does_whoever_says_that_it_shall_stay_as_it_is(self, by_hand: str) -> None:
        life = of_two_majors()
        promote(life, V1_1)
        if by_hand == "promote":
            life.do(canary_started, plan(shadow=True))
            promote(life, V1_1)
        else:
            life.do(canary_started, plan(share=10.0))
            life.do(split, FAMILY, {V1_1.key: 90.0, V2.key: 10.0})
        assert life.registry.traffic(FAMILY).canary is None
        assert "canary" not in life.states().values()
        life.do(rolled_back, FAMILY)
        assert life.shares() == {"split": {"1.1.0": 100.0}, "promote": {"1.0.0": 100.0}}[by_hand]

    @pytest.mark.parametrize("ending", [canary_undecided, canary_passed])
    def test_an_active_version_stands_for_its_id_before_during_and_after(
        self, ending: Callable[..., Change]
    ) -> None:
        life = of_two_majors()
        promote(life, V2)
        for step in (lambda: life.do(canary_started, plan(V1)), lambda: life.do(ending, FAMILY)):
            step()
            assert life.states() == {"1.0.0": "active", "2.0.0": "active"}
            assert life.registry.choose("legal-qa-v1", "s").version.key == V1.key

    def test_one_at_a_time(self) -> None:
        life = self.started()
        with pytest.raises(ChangeRefused, match=r"legal-qa-v2@2\.0\.0 is on trial already"):
            life.do(canary_started, plan(V1_1))
        for wanted in (V1, V2):
            with pytest.raises(ChangeRefused, match="is on trial beside what serves"):
                life.do(retired, now(life, wanted))
        life.do(retired, now(life, V1_1))
        assert life.registry.traffic(FAMILY).canary == plan()

    def test_what_serves_is_no_canary_and_where_nobody_does_there_is_none(self) -> None:
        life = of_two_majors()
        with pytest.raises(ChangeRefused, match="serves already"):
            life.do(canary_started, plan(V1))
        life.do(retired, now(life, V1), even_the_last=True)
        with pytest.raises(ChangeRefused, match="nothing to compare with"):
            life.do(canary_started, plan())

    def test_queries_that_name_its_id_go_to_the_active_version_of_it_if_there_is_one(self) -> None:
        life = self.started()
        assert life.registry.choose("legal-qa-v2", "s").version.key == V2.key
        life = of_two_majors()
        life.do(split, FAMILY, NINETY_TEN)
        promote(life, V1)
        newer = version("legal-qa-v2", "2.1.0")
        life.register(newer)
        life.do(canary_started, plan(newer))
        assert {life.registry.choose("legal-qa-v2", str(n)).version.key for n in range(99)} == {
            V2.key
        }
        assert life.registry.resolve("legal-qa-v2").key == V2.key


class TestShadows:
    def started(self) -> Life:
        life = of_two_majors()
        life.do(canary_started, plan(share=100.0, shadow=True))
        return life

    def test_one_has_no_share(self) -> None:
        life = self.started()
        assert life.shares() == {"1.0.0": 100.0}
        assert life.states() == {"1.0.0": "active", "2.0.0": "canary"}

    @pytest.mark.parametrize(
        ("ending", "event", "state"),
        [
            (canary_passed, "shadow_passed", "registered"),
            (canary_undecided, "shadow_undecided", "registered"),
            (canary_failed, "shadow_failed", "failed"),
            (rolled_back, "rolled_back", "failed"),
        ],
    )
    def test_its_end_changes_nothing_for_users(
        self, ending: Callable[..., Change], event: str, state: str
    ) -> None:
        life = self.started()
        life.do(ending, FAMILY)
        assert life.shares() == {"1.0.0": 100.0}
        assert life.states() == {"1.0.0": "active"} | (
            {"2.0.0": "failed"} if state == "failed" else {}
        )
        (told,) = life.changes[-1].events
        assert (told.event, told.from_status, told.to_status) == (event, "canary", state)
        assert life.registry.traffic(FAMILY).canary is None

    @pytest.mark.parametrize(
        "ending", [canary_passed, canary_undecided, canary_failed, rolled_back]
    )
    def test_an_active_version_stands_for_its_id_whatever_comes_of_it(
        self, ending: Callable[..., Change]
    ) -> None:
        life = of_two_majors()
        promote(life, V2)
        before = life.states()
        on_trial = plan(V1, share=100.0, shadow=True)
        for step in (lambda: life.do(canary_started, on_trial), lambda: life.do(ending, FAMILY)):
            step()
            assert life.states() == before == {"1.0.0": "active", "2.0.0": "active"}
            assert life.registry.choose("legal-qa-v1", "s").version.key == V1.key
