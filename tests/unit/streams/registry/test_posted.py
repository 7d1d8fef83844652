"""Metadata that comes as an object, flat or nested."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import RegistrationRefused
from streams.registry.candidate import read_candidate
from streams.registry.posted import read_posted
from tests.unit.streams.registry.factories import NOW, metadata, write_adapter, write_weights

FLAT: dict[str, Any] = {
    "adapter_id": "legal-qa-v1",
    "adapter_version": "1.2.0",
    "base_model_name": "demo-base",
    "domain": "legal",
    "task_type": "question-answering",
    "lora_rank": 4,
    "num_samples": 150,
}


def test_flat_keys_are_read_as_nested_ones_are(tmp_path: Path) -> None:
    write_weights(tmp_path / "a")
    candidate = read_posted({"adapter_metadata": FLAT | {"adapter_path": str(tmp_path / "a")}}, NOW)
    assert candidate.version.key == "legal-qa-v1@1.2.0"
    assert candidate.version.base_model.name == "demo-base"
    assert candidate.version.training.num_samples == 150
    assert candidate.version.artifact is not None
    assert candidate.version.artifact.uri == (tmp_path / "a").as_uri()


def test_what_is_posted_is_what_a_folder_with_the_same_metadata_is(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", examples=5)
    tree = json.loads((folder / "metadata.json").read_text())
    tree["vllm"]["adapter_path"] = folder.as_uri()
    assert read_posted(tree, NOW) == read_candidate(folder, NOW)


def test_posted_examples_go_before_those_beside_the_weights(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", examples=5)
    tree = metadata(vllm={"adapter_path": str(folder)})
    candidate = read_posted(tree, NOW, [{"text": "Wer erbt?", "language": "de"}])
    assert [example.text for example in candidate.examples] == ["Wer erbt?"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (None, "lacks 'adapter_path'"),
        ("adapters/a", "has to be an absolute path"),
        ("/a\0b", "has to be an absolute path"),
        ("http://[", "has to be an absolute path"),
        ("/nowhere/at/all", "There is no folder"),
    ],
)
def test_the_place_of_the_weights_has_to_be_one(path: str | None, problem: str) -> None:
    with pytest.raises(RegistrationRefused, match=problem):
        read_posted(FLAT | {"adapter_path": path}, NOW)


@pytest.mark.parametrize("number", [2**80, 10**30])
def test_a_number_that_no_json_here_holds_is_refused(number: int, tmp_path: Path) -> None:
    with pytest.raises(RegistrationRefused, match="can't be written"):
        read_posted(FLAT | {"adapter_path": str(tmp_path), "epochs": number}, NOW)
