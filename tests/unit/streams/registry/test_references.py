from dataclasses import replace

import pytest

from schemas.errors import ChangeRefused, UnknownAdapter
from schemas.records import Canary
from streams.registry.lifecycle import promoted, split
from streams.registry.references import family_of, newest, weights
from streams.registry.trials import canary_started
from tests.unit.streams.registry.factories import NOW
from tests.unit.streams.registry.lives import ANNA, V1, V1_1, V2, Life, of_two_majors, promote

FAMILY = "legal-qa"


@pytest.mark.parametrize(
    "reference", ["legal-qa", "legal-qa-v1", "legal-qa-v2", "legal-qa-v1@1.1.0"]
)
def test_every_name_has_a_family(reference: str) -> None:
    assert family_of(of_two_majors().registry, reference) == FAMILY


@pytest.mark.parametrize("reference", ["legal-aq", "legal-qa-v3", "legal-qa-v1@1.2.0"])
def test_a_name_that_nobody_has_comes_with_near_ones(reference: str) -> None:
    with pytest.raises(UnknownAdapter, match="Did you mean"):
        family_of(of_two_majors().registry, reference)


class TestNewest:
    def test_an_id_is_its_newest_version_though_an_older_one_serves(self) -> None:
        assert newest(of_two_majors().registry, "legal-qa-v1").key == V1_1.key

    def test_what_is_retired_or_failed_is_meant_only_by_its_exact_name(self) -> None:
        life = of_two_majors()
        life.registry.apply_version(V1_1.key, replace(V1_1, status="failed"), 9)
        assert newest(life.registry, "legal-qa-v1").key == V1.key
        assert newest(life.registry, V1_1.key).key == V1_1.key
        life.registry.apply_version(V2.key, replace(V2, status="retired"), 10)
        with pytest.raises(UnknownAdapter, match="neither retired nor failed"):
            newest(life.registry, "legal-qa-v2")

    def test_a_family_is_its_canary_or_its_only_version_and_else_leaves_it_open(self) -> None:
        life = of_two_majors()
        with pytest.raises(ChangeRefused, match=r"name one of them: legal-qa-v2@2\.0\.0, legal"):
            newest(life.registry, FAMILY)
        life.registry.apply_version(V2.key, replace(V2, status="canary"), 9)
        assert newest(life.registry, FAMILY).key == V2.key
        tried = of_two_majors()
        promote(tried, V2)
        on_trial = Canary(adapter=V1.key, share=1.0, started_at=NOW, ends_at=NOW)
        tried.do(canary_started, on_trial)
        assert tried.states() == {"1.0.0": "active", "2.0.0": "active"}
        assert newest(tried.registry, FAMILY).key == V1.key
        alone = Life()
        alone.register(V1)
        assert newest(alone.registry, FAMILY).key == V1.key


class TestWeights:
    @pytest.mark.parametrize(
        "arms",
        [
            ["v1=90", "v2=10"],
            ["legal-qa-v1=90", "legal-qa-v2=10"],
            ["legal-qa-v1@1.0.0=90", "v2@2.0.0=1e1"],
        ],
    )
    def test_an_arm_is_a_major_an_id_or_a_version(self, arms: list[str]) -> None:
        assert weights(of_two_majors().registry, FAMILY, arms) == {V1.key: 90.0, V2.key: 10.0}

    def test_a_major_is_the_version_that_has_a_share_already(self) -> None:
        life = of_two_majors()
        life.do(promoted, life.registry.resolve(V2.key))
        assert weights(life.registry, FAMILY, ["v1=1"]) == {V1.key: 1.0}
        life.apply(split(life.registry, FAMILY, {V1_1.key: 1.0, V2.key: 1.0}, ANNA))
        assert weights(life.registry, FAMILY, ["v1=1"]) == {V1_1.key: 1.0}

    @pytest.mark.parametrize(
        ("arms", "sentence"),
        [
            (["v1"], "write arms as v1=90"),
            (["v1=ten"], "no weight above 0"),
            (["v1=0"], "what shall get nothing is left out"),
            (["v1=-1"], "no weight above 0"),
            (["v1=nan"], "no weight above 0"),
            (["v1=inf"], "no weight above 0"),
            (["v3=1"], "v3 is no version of legal-qa: .* legal-qa-v1, legal-qa-v2"),
            (["tax-v1=1"], "no version of legal-qa"),
            (["v1=1", "legal-qa-v1@1.0.0=2"], "named twice"),
        ],
    )
    def test_anything_else_is_refused_with_what_to_write(
        self, arms: list[str], sentence: str
    ) -> None:
        with pytest.raises(ChangeRefused, match=sentence):
            weights(of_two_majors().registry, FAMILY, arms)

    def test_a_version_that_is_not_there_is_told_with_near_ones(self) -> None:
        with pytest.raises(UnknownAdapter, match="Did you mean"):
            weights(of_two_majors().registry, FAMILY, ["v1@1.0.5=1"])
