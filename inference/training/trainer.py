"""One LoRA adapter from rows: PEFT around any Hugging Face causal language model."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from inference.training.base import base_identity, load_base
from inference.training.batches import Sample, endless, length_buckets
from inference.training.dataset import TrainingDataError, TrainingRow, relative_weights
from inference.training.folder import check_free, write_folder
from inference.training.noise import perturb, vocabulary_of
from inference.training.plan import (
    TrainingFigures,
    TrainingPlan,
    check_base_model,
    finished_metadata,
    prompt_template_of,
)
from inference.training.prompt import answer_ids, prompt_ids
from inference.training.recall import padding_id
from schemas.errors import ConfigurationError
from schemas.records import Example, Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OnStep = Callable[[int, int, float], None]
"""Called after each step with the steps done, the steps planned and the smoothed loss."""


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """A finished adapter folder; `too_long` rows exceeded the plan's `max_length`."""

    folder: Path
    figures: TrainingFigures
    too_long: int


def train_adapter(
    rows: Sequence[TrainingRow],
    *,
    metadata: Mapping[str, Any],
    base: str,
    out: Path,
    plan: TrainingPlan,
    held_out: Sequence[TrainingRow] = (),
    force: bool = False,
    on_step: OnStep = lambda done, planned, loss: None,
) -> TrainedAdapter:
    """Train an adapter of `base` on `rows` and write it to the folder `out`, whole or not at all.

    The folder gets adapter_model.safetensors and adapter_config.json (both PEFT's own),
    metadata.json (`metadata` with the real figures filled in) and examples.jsonl (the questions
    of `rows` and, marked, of `held_out`).

    Raises ConfigurationError, before training, for an `out` that can't be written or that holds
    something (unless `force`), a model that cannot be loaded, metadata for another base model, and
    modules that the model does not have; FolderKept, which says where the finished adapter is,
    where `out` can't be written after all.
    """
    check_free(out, force)
    identity = base_identity(base)
    check_base_model(metadata, identity)
    template = prompt_template_of(metadata)
    tokenizer, model = load_base(base)
    epoch, too_long = _epochs(rows, tokenizer, template, plan)
    steps, epochs = _length(plan, epoch(random.Random(plan.seed)))
    lora = _with_lora(model, plan)
    from inference.training.fit import adamw, fit

    loss = fit(
        lora,
        endless(epoch, plan.tokens_per_batch, plan.seed),
        [adamw((p for p in lora.parameters() if p.requires_grad), plan.learning_rate)],
        steps=steps,
        padding=padding_id(tokenizer),
        report=lambda done, loss: on_step(done, steps, loss),
    )
    figures = TrainingFigures(len(rows) - too_long, epochs, steps, loss)
    finished = finished_metadata(metadata, plan, figures, identity)

    def write(folder: Path) -> None:
        lora.save_pretrained(str(folder))
        # PEFT's model card is an empty form.
        (folder / "README.md").unlink(missing_ok=True)
        _write(folder / "metadata.json", json.dumps(finished, ensure_ascii=False, indent=2))
        _write(folder / "examples.jsonl", _examples(rows, held_out))

    write_folder(out, write, force)
    return TrainedAdapter(out, figures, too_long)


def _epochs(
    rows: Sequence[TrainingRow],
    tokenizer: "PreTrainedTokenizerBase",
    template: str | None,
    plan: TrainingPlan,
) -> tuple[Callable[[random.Random], list[Sample]], int]:
    """(what gives the samples of an epoch, how many rows are too long for it)."""
    weights = relative_weights(rows)
    plain = [
        Sample(
            prompt_ids(tokenizer, row.messages, template), answer_ids(tokenizer, row.answer), weight
        )
        for row, weight in zip(rows, weights, strict=True)
    ]
    kept = [at for at, sample in enumerate(plain) if sample.length <= plan.max_length]
    if not kept:
        raise TrainingDataError(
            f"Every row is longer than {plan.max_length} tokens; raise --max-length."
        )
    vocabulary = vocabulary_of([row.question for row in rows])

    def epoch(rng: random.Random) -> list[Sample]:
        return [noisy(plain[at], rows[at], rng) for at in kept]

    def noisy(sample: Sample, row: TrainingRow, rng: random.Random) -> Sample:
        if rng.random() >= plan.noise:
            return sample
        reworded = reword(row.messages, vocabulary, rng)
        return replace(sample, prompt=prompt_ids(tokenizer, reworded, template))

    return epoch, len(rows) - len(kept)


def reword(
    messages: Sequence[Message], vocabulary: Sequence[str], rng: random.Random
) -> tuple[Message, ...]:
    """The messages with the last user message perturbed."""
    asked = [at for at, message in enumerate(messages) if message.role == "user"]
    return tuple(
        replace(message, content=perturb(message.content, vocabulary, rng))
        if asked and at == asked[-1]
        else message
        for at, message in enumerate(messages)
    )


def _length(plan: TrainingPlan, samples: Sequence[Sample]) -> tuple[int, float]:
    """(steps, epochs) of the run; one of them follows from the other."""
    per_epoch = len(length_buckets(samples, plan.tokens_per_batch, random.Random(plan.seed)))
    steps = plan.max_steps or max(1, round(plan.epochs * per_epoch))
    return steps, steps / per_epoch


def _with_lora(model: "PreTrainedModel", plan: TrainingPlan) -> "PreTrainedModel":
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(plan.seed)
    lora = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=list(plan.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return cast("PreTrainedModel", get_peft_model(model, lora))
    except ValueError as error:
        raise ConfigurationError(
            f"The base model does not have the target modules that the metadata names: {error}"
        ) from None


def _examples(rows: Sequence[TrainingRow], held_out: Sequence[TrainingRow]) -> str:
    """examples.jsonl: one schemas.records.Example a line, no text twice."""
    examples = {
        row.question: Example(row.question, row.language, held_out=later)
        for later, group in ((True, held_out), (False, rows))
        for row in group
    }
    return "".join(
        json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples.values()
    )


def _write(path: Path, text: str) -> None:
    path.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
