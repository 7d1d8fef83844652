import json
import os
from pathlib import Path

import pytest

from schemas.errors import RegistrationRefused
from schemas.records import Example
from streams.registry.candidate import read_candidate, read_description
from tests.unit.streams.registry.factories import NOW, metadata, write_adapter, write_weights


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", examples=5)
    before = contents(folder)
    candidate = read_candidate(folder, NOW)
    assert candidate.version.key == "legal-qa-v1@1.2.0"
    assert candidate.version.artifact is not None
    assert candidate.version.artifact.uri == folder.resolve().as_uri()
    assert candidate.version.artifact.size_bytes == len(before["adapter_model.safetensors"])
    assert candidate.version.example_parts == 1
    assert len(candidate.examples) == 5
    assert candidate.warnings == ()
    assert contents(folder) == before


def test_a_description_needs_no_weights_and_is_otherwise_the_same(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    whole = read_candidate(folder, NOW)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (folder / name).unlink()
    described = read_description(folder, NOW)
    assert described.examples == whole.examples
    assert described.version.key == whole.version.key
    assert described.version.example_parts == whole.version.example_parts == 1
    assert described.version.artifact is None


def test_a_description_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistrationRefused, match=r"no metadata\.json"):
        read_description(tmp_path, NOW)


def test_metadata_may_have_any_name_in_its_folder(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "metadata.json").rename(folder / "themis.json")
    (folder / "tokenizer.json").write_text("{}")
    assert read_candidate(folder, NOW).version.key == "legal-qa-v1@1.2.0"


def test_metadata_elsewhere_names_the_folder(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "weights ü")
    for path in (str(folder), "weights ü", folder.as_uri()):
        named = metadata(vllm={"adapter_path": path})
        (tmp_path / "legal.json").write_text(json.dumps(named))
        candidate = read_candidate(tmp_path / "legal.json", NOW)
        assert candidate.version.artifact is not None
        assert candidate.version.artifact.uri == folder.resolve().as_uri()
        assert len(candidate.examples) == 4


def test_the_weights_beside_the_metadata_win(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a", vllm={"adapter_path": "/somewhere/else"})
    candidate = read_candidate(folder / "metadata.json", NOW)
    assert candidate.version.artifact is not None
    assert candidate.version.artifact.uri == folder.resolve().as_uri()


def test_examples_may_come_from_another_file(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    other = tmp_path / "training.jsonl"
    other.write_text('{"instruction": "Wer?", "output": "Ich."}\n')
    assert read_candidate(folder, NOW, other).examples == (Example("Wer?"),)


def test_without_examples_it_is_said_that_selection_never_chooses_it(tmp_path: Path) -> None:
    candidate = read_candidate(write_adapter(tmp_path / "a", examples=0), NOW)
    assert candidate.version.example_parts == 0
    (warning,) = candidate.warnings
    assert "selection never chooses it" in warning


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    for name in ("metadata.json", "examples.jsonl"):
        path = folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_candidate(folder, NOW).examples) == 4


def test_peft_configuration_that_metadata_has_overwritten_is_told(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "adapter_config.json").write_text(json.dumps(metadata()))
    with pytest.raises(RegistrationRefused, match="put PEFT's file back"):
        read_candidate(folder, NOW)
    with pytest.raises(RegistrationRefused, match="put PEFT's file back"):
        read_candidate(folder / "adapter_config.json", NOW)


def test_a_missing_weight_file_is_named(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(RegistrationRefused, match=r"no adapter_model\.safetensors"):
        read_candidate(folder, NOW)


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(RegistrationRefused, match=r"adapter_model\.bin"):
        read_candidate(folder, NOW)


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(RegistrationRefused, match="safetensors"):
        read_candidate(folder, NOW)


def test_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(RegistrationRefused, match="There is no file or folder"):
        read_candidate(tmp_path / "a", NOW)
    write_weights(tmp_path / "b")
    with pytest.raises(RegistrationRefused, match=r"has no metadata\.json"):
        read_candidate(tmp_path / "b", NOW)


@pytest.mark.parametrize(("text", "reason"), [("{", "is not JSON"), ("[]", "holds no JSON object")])
def test_a_file_that_is_no_metadata_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(RegistrationRefused, match=reason):
        read_candidate(path, NOW)


def test_a_folder_out_of_reach_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(metadata(vllm={"adapter_path": "s3://bucket/a"})))
    with pytest.raises(
        RegistrationRefused, match="s3://bucket/a is outside LORELAY_ADAPTER_SOURCES"
    ):
        read_candidate(path, NOW)


def test_examples_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "examples.jsonl").write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(RegistrationRefused, match="is not UTF-8"):
        read_candidate(folder, NOW)
    with pytest.raises(RegistrationRefused, match="can't be read"):
        read_candidate(folder, NOW, tmp_path / "none.jsonl")


def test_a_tokenizer_too_large_for_metadata_is_passed_over(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    (folder / "metadata.json").rename(folder / "zz.json")
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate(1 << 30)
    assert read_candidate(folder, NOW).version.key == "legal-qa-v1@1.2.0"


@pytest.mark.parametrize("name", ["metadata.json", "examples.jsonl"])
def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    folder = write_adapter(tmp_path / "a")
    os.truncate(folder / name, 1 << 30)
    with pytest.raises(RegistrationRefused, match="1,073,741,824 bytes"):
        read_candidate(folder, NOW)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RegistrationRefused, match="is a pipe, not a file"):
        read_candidate(folder, NOW, examples=tmp_path / "pipe")
    (folder / "metadata.json").unlink()
    os.mkfifo(folder / "metadata.json")
    with pytest.raises(RegistrationRefused, match=r"no metadata\.json"):
        read_candidate(folder, NOW)
