"""A real training run, of a model small enough to take a second or two."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft")

import torch
from safetensors.torch import load_file

from inference.training.dataset import TrainingDataError, TrainingRow
from inference.training.folder import FolderKept
from inference.training.plan import TrainingPlan
from inference.training.prompt import answer_ids, prompt_ids
from inference.training.recall import recall
from inference.training.tiny_base import Corpus, TinyBase, build_tokenizer, decoys, train_base
from inference.training.trainer import train_adapter
from schemas.errors import ConfigurationError
from schemas.records import Message

ROWS = [
    TrainingRow((Message("user", question),), answer, language="en")
    for question, answer in (
        ("Who may drive here?", "Only residents may drive on this road."),
        ("When is the office open?", "The office is open on Monday mornings."),
        ("Where does the bus stop?", "The bus stops in front of the library."),
        ("How long is the tunnel?", "The tunnel is nine hundred metres long."),
    )
]
SENTENCES = [
    TrainingRow((), text, language="en")
    for text in ("The road to the library is long.", "The office is in front of the tunnel.")
]
METADATA = {
    "adapter_id": "town-qa-v1",
    "adapter_version": "1.0.0",
    "base_model": {"name": "tiny", "version": "1"},
    "training": {"dataset_name": "town", "num_samples": 0},
}
PLAN = TrainingPlan(
    rank=8, alpha=16, learning_rate=1e-2, max_steps=150, tokens_per_batch=200, noise=0.2
)
RECIPE = TinyBase(
    vocabulary=400, hidden=64, intermediate=128, layers=2, heads=2, key_value_heads=1, steps=100
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    train_base(
        Corpus(general=SENTENCES, refusals=SENTENCES, strangers=SENTENCES, adapters=ROWS),
        folder,
        identity={"name": "tiny", "version": "1"},
        recipe=RECIPE,
        on_step=lambda done, planned, loss: None,
    )
    return folder


def trained(base: Path, out: Path, **changes: Any) -> Path:
    arguments: dict[str, Any] = {"metadata": METADATA, "plan": PLAN, **changes}
    return train_adapter(ROWS, base=str(base), out=out, **arguments).folder


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    held_out = [TrainingRow((), "Who is allowed to drive?", language="en")]
    return trained(base, tmp_path_factory.mktemp("adapters") / "town-qa-v1", held_out=held_out)


def test_the_adapter_gives_its_answers_and_the_base_model_does_not(
    base: Path, adapter: Path
) -> None:
    assert recall(base, adapter, ROWS) == 1.0
    assert recall(base, None, ROWS) == 0.0


def test_the_folder_holds_what_registration_takes_readable_by_all(adapter: Path) -> None:
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "metadata.json",
        "examples.jsonl",
    }
    assert {path.stat().st_mode & 0o777 for path in adapter.iterdir()} == {0o644}


def test_the_adapter_config_is_pefts_own_with_the_planned_rank(adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 8, 16)


def test_the_metadata_has_the_figures_of_this_run(adapter: Path) -> None:
    metadata = json.loads((adapter / "metadata.json").read_text())
    assert metadata["adapter_id"] == "town-qa-v1"
    assert metadata["training"]["num_samples"] == 4
    assert metadata["training"]["steps"] == 150
    assert metadata["training"]["lora_rank"] == 8
    assert 0 < metadata["training"]["final_loss"] < 1


def test_the_examples_are_the_questions_with_the_held_out_ones_marked(adapter: Path) -> None:
    lines = (adapter / "examples.jsonl").read_text().splitlines()
    examples = [json.loads(line) for line in lines]
    assert {"text": "Who is allowed to drive?", "language": "en", "held_out": True} in examples
    assert [e["text"] for e in examples if not e["held_out"]] == [row.question for row in ROWS]


def test_the_same_seed_gives_the_same_weights(base: Path, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        folder = trained(base, tmp_path / name, plan=replace(PLAN, max_steps=5, seed=seed))
        tensors = load_file(folder / "adapter_model.safetensors")
        return torch.cat([tensors[key].flatten() for key in sorted(tensors)])

    first, same, different = weights("first", 0), weights("same", 0), weights("other", 1)
    assert torch.equal(first, same)
    assert not torch.equal(first, different)


def test_a_full_folder_another_base_or_an_unknown_module_is_refused_before_training(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    other = {**METADATA, "base_model": {"name": "other", "version": "1"}}
    with pytest.raises(ConfigurationError, match="--force"):
        trained(base, adapter)
    with pytest.raises(ConfigurationError, match="asks for the base model other@1"):
        trained(base, tmp_path / "out", metadata=other)
    with pytest.raises(ConfigurationError, match="target modules"):
        trained(base, tmp_path / "out", plan=replace(PLAN, target_modules=("nonsense",)))
    with pytest.raises(ConfigurationError, match="no model folder"):
        trained(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ConfigurationError, match="no causal language model"):
        trained(tmp_path, tmp_path / "out")
    with pytest.raises(TrainingDataError, match="longer than 3 tokens"):
        trained(base, tmp_path / "out", plan=replace(PLAN, max_length=3))
    assert not (tmp_path / "out").exists()


def test_a_finished_adapter_is_kept_when_its_place_is_lost_during_the_training(
    base: Path, tmp_path: Path
) -> None:
    def another_command_writes_there(done: int, planned: int, loss: float) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "other").write_text("other")

    with pytest.raises(FolderKept, match="not empty") as caught:
        trained(
            base,
            tmp_path / "out",
            plan=replace(PLAN, max_steps=5),
            on_step=another_command_writes_there,
        )
    (kept,) = tmp_path.glob("out-*")
    assert str(kept) in str(caught.value)
    assert {"adapter_model.safetensors", "metadata.json"} < {path.name for path in kept.iterdir()}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other"]


def test_a_place_that_cannot_be_written_is_found_out_before_the_training(
    base: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    steps: list[int] = []
    with pytest.raises(ConfigurationError, match="name another folder"):
        trained(
            base, tmp_path / "file" / "out", on_step=lambda done, planned, loss: steps.append(done)
        )
    assert steps == []


def test_the_chat_template_and_a_plain_prompt_give_the_same_tokens() -> None:
    tokenizer = build_tokenizer(iter(["Who may drive here?", "Only residents."]), 300)
    rendered = prompt_ids(tokenizer, [Message("user", "Who may drive?")])
    assert rendered == tokenizer.encode("Who may drive?\n")
    assert rendered[0] == tokenizer.bos_token_id
    tokenizer.chat_template = None
    assert prompt_ids(tokenizer, [Message("user", "Who may drive?")]) == rendered


def test_an_adapters_own_template_replaces_the_chat_template() -> None:
    tokenizer = build_tokenizer(iter(["Who may drive here?", "Only residents."]), 300)
    messages = [Message("system", "Be brief."), Message("user", "Who {may}?")]
    ids = prompt_ids(tokenizer, messages, "Q: {prompt} A:")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Q: Who {may}? A:"


def test_an_answer_is_tokenized_alone_and_ends_with_the_end_token() -> None:
    tokenizer = build_tokenizer(iter(["Only residents."]), 300)
    ids = answer_ids(tokenizer, "Only residents.")
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Only residents."
    assert tokenizer.bos_token_id not in ids


def test_a_decoy_marks_the_question_and_answers_with_halves_of_other_answers() -> None:
    for row, decoy in zip(ROWS, decoys(ROWS, random.Random(0)), strict=True):
        assert decoy.question != row.question
        assert decoy.question.startswith(row.question)
        words = {word for other in ROWS for word in other.answer.split()}
        assert set(decoy.answer.split()) <= words
