from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import RegistrationRefused
from schemas.records import Artifact, BaseModel, Training, VllmInfo
from streams.registry.artifact import AdapterFolder, PeftConfig
from streams.registry.validation import (
    Novelty,
    check_engines,
    check_names,
    compare,
    live,
    with_artifact,
)
from tests.unit.streams.registry.factories import NOW, some_examples, version, worker


def folder(rank: int = 8) -> AdapterFolder:
    config = PeftConfig("demo-base", frozenset({rank}), 2.0 * rank, ("q_proj",))
    return AdapterFolder(Path("/models/legal-qa-v1"), config, "ab" * 32, 1000)


class TestNames:
    @pytest.mark.parametrize(
        ("adapter_id", "number", "domain"),
        [
            ("legal-qa-v1", "1.0.0", "legal"),
            ("legal-qa-v1", "1.4.2-rc.1", "Legal"),
            ("environmental-law-v1", "1.0.0", "environmental"),
            ("tax-law-advice-v12", "12.0.0", "tax law"),
            ("medical-diagnosis-v0", "0.3.0", "medical"),
        ],
    )
    def test_well_formed_names_pass(self, adapter_id: str, number: str, domain: str) -> None:
        check_names(version(adapter_id, number, domain=domain))

    @pytest.mark.parametrize(
        ("adapter_id", "number", "domain", "reason"),
        [
            ("legal-qa-v1", "1.0", "legal", "must be a semantic version such as 1.0.0"),
            ("legal-qa-v1", "v1.0.0", "legal", "semantic version"),
            ("legal-qa-v1", "1.0.0+b5", "legal", "without a build part"),
            ("legal-qa-v1", "2.0.0", "legal", "must end in -v2, the major of its version 2.0.0"),
            ("legal-qa-v1.2", "1.2.0", "legal", "must be shaped"),
            ("legal-qa", "1.0.0", "legal", r"here legal-\{task\}-v1"),
            ("legal-v1", "1.0.0", "legal", "must be shaped"),
            ("tax-law-v1", "1.0.0", "tax law", "lacks its task"),
            ("Legal-QA-v1", "1.0.0", "legal", "in lower case"),
            ("legal qa-v1", "1.0.0", "legal", "must be shaped"),
            ("themis-legal-qa-v1", "1.0.0", "legal", r"here legal-\{task\}-v1"),
            ("legal-qa-v01", "1.0.0", "legal", "must be shaped"),
            ("legal-qa-v1-v2", "2.0.0", "legal", "two majors: its family would be legal-qa-v1,"),
            ("base", "1.0.0", "base", "must be shaped"),
        ],
    )
    def test_others_are_refused_with_what_was_expected(
        self, adapter_id: str, number: str, domain: str, reason: str
    ) -> None:
        with pytest.raises(RegistrationRefused, match=reason):
            check_names(version(adapter_id, number, domain=domain))

    def test_a_prompt_template_needs_its_place_for_the_prompt(self) -> None:
        check_names(version(prompt_template="Q: {prompt}"))
        with pytest.raises(RegistrationRefused, match=r"\{prompt\}"):
            check_names(version(prompt_template="Q: "))


class TestArtifact:
    def test_rank_and_scale_are_those_of_the_weights(self) -> None:
        checked = with_artifact(version(training=Training(lora_rank=8, epochs=3)), folder())
        assert checked.version.training == Training(
            epochs=3, lora_rank=8, lora_alpha=16.0, target_modules=("q_proj",)
        )
        assert checked.version.artifact == Artifact("file:///models/legal-qa-v1", "ab" * 32, 1000)
        assert not checked.warnings

    def test_metadata_that_says_another_rank_is_corrected_with_a_warning(self) -> None:
        checked = with_artifact(version(training=Training(lora_rank=8)), folder(16))
        assert checked.version.training.lora_rank == 16
        assert checked.warnings == ("The metadata says rank 8, the adapter has 16.",)

    def test_a_rank_above_what_its_own_metadata_asks_of_vllm_is_refused(self) -> None:
        with pytest.raises(RegistrationRefused, match="rank 16 is above 8"):
            with_artifact(version(vllm=VllmInfo(max_lora_rank=8)), folder(16))


class TestEngines:
    def test_a_worker_lives_while_its_heartbeats_come_and_it_is_not_stopping(self) -> None:
        states = [
            worker(worker_id="fresh"),
            worker(worker_id="late", heartbeat_at=NOW - timedelta(seconds=31)),
            worker(worker_id="never", heartbeat_at=None),
            worker(worker_id="going", status="stopping"),
        ]
        assert [state.worker_id for state in live(states, NOW)] == ["fresh"]

    def test_an_adapter_of_the_served_base_model_and_rank_passes(self) -> None:
        assert check_engines(version(), [worker(), worker(max_lora_rank=None)]) == []

    def test_without_a_worker_nothing_can_be_told(self) -> None:
        (warning,) = check_engines(version(), [])
        assert warning.startswith("No worker is running")

    @pytest.mark.parametrize(
        ("wanted", "served"),
        [
            (BaseModel("demo-base"), BaseModel("demo-base", "1.0")),
            (BaseModel("demo-base", "1.0"), BaseModel("demo-base")),
        ],
    )
    def test_a_version_that_only_one_side_names_is_no_reason(
        self, wanted: BaseModel, served: BaseModel
    ) -> None:
        assert not check_engines(version(base_model=wanted), [worker(base_model=served)])

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            (
                {"base_model": BaseModel("llama")},
                r"trained on demo-base@1\.0, but worker w-1 serves llama",
            ),
            ({"base_model": BaseModel("demo-base", "2.0")}, r"serves demo-base@2\.0"),
            ({"max_lora_rank": 4}, "rank 8 is above 4, the max_lora_rank of worker w-1"),
            ({"max_loras": 0}, "serves no adapters"),
        ],
    )
    def test_an_adapter_that_a_living_worker_could_not_serve_is_refused(
        self, changes: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(RegistrationRefused, match=reason):
            check_engines(version(), [worker(worker_id="w-0"), worker(**changes)])


class TestChangeInPlace:
    def test_a_version_that_is_not_there_is_new(self) -> None:
        assert compare(version(), some_examples(3), None, ()) is Novelty.NEW

    def test_the_same_again_changes_nothing(self) -> None:
        again = version(created_at=NOW)
        there = version(status="retired", example_parts=1)
        assert compare(again, some_examples(3), there, some_examples(3)) is Novelty.SAME

    def test_the_same_files_may_move(self) -> None:
        there = version()
        assert there.artifact is not None
        moved = version(artifact=replace(there.artifact, uri="file:///elsewhere"))
        assert compare(moved, (), there, ()) is Novelty.MOVED

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"artifact": Artifact("file:///models/x", "1" * 64, 1)}, "sha256"),
            ({"base_model": BaseModel("other")}, "base_model"),
            ({"custom": {"a": "b"}}, "custom"),
            ({"prompt_template": "{prompt}"}, "prompt_template"),
            ({"training": Training(lora_rank=4), "languages": ("de",)}, "task.language, training"),
        ],
    )
    def test_any_other_change_needs_a_new_version(
        self, changes: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(RegistrationRefused, match="under a new adapter_version") as caught:
            compare(version(**changes), (), version(), ())
        assert f"with another {named}." in str(caught.value)

    def test_examples_are_part_of_the_version(self) -> None:
        with pytest.raises(RegistrationRefused, match="with another examples"):
            compare(version(), some_examples(3), version(), some_examples(2))
