"""A base model trained from nothing in a minute: small, but a real Llama with a real tokenizer.

It learns the language of the adapters' answers without learning the answers. Three kinds of rows
bring that about: plain sentences; questions answered by a polite refusal; and decoys, which are
the adapters' questions with a marker behind them, answered by two halves of other answers.
Without decoys an adapter would have to teach the words as well, and learns a tenth of its answers
in the same number of steps.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inference.training.base import IDENTITY, silence_bars
from inference.training.batches import Sample, endless
from inference.training.dataset import TrainingRow
from inference.training.folder import check_free, complete_folder
from inference.training.noise import vocabulary_of
from inference.training.prompt import answer_ids, prompt_ids
from inference.training.recall import padding_id
from inference.training.trainer import OnStep, reword
from schemas.records import Message

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

START, END, PADDING = "<s>", "</s>", "<pad>"
MARKER = " ***"

CHAT_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
"""Each message and a newline; the answer follows. Roles are not rendered: the model is too small
to tell them apart."""


@dataclass(frozen=True, slots=True)
class TinyBase:
    """Sizes and training figures; the defaults give about 2 M parameters."""

    vocabulary: int = 2500
    hidden: int = 192
    intermediate: int = 512
    layers: int = 4
    heads: int = 6
    key_value_heads: int = 2
    positions: int = 2048
    steps: int = 400
    tokens_per_batch: int = 700
    learning_rate: float = 4e-3
    noise: float = 0.5
    refused_share: float = 0.25
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the base model learns from.

    `general`, `refusals` and `strangers` (questions of no adapter) are plain texts; `adapters`
    are the rows that the base model must not be able to answer.
    """

    general: Sequence[TrainingRow]
    refusals: Sequence[TrainingRow]
    strangers: Sequence[TrainingRow]
    adapters: Sequence[TrainingRow]

    def texts(self) -> Iterator[str]:
        """Every question and answer, for the tokenizer."""
        for row in (*self.general, *self.refusals, *self.strangers, *self.adapters):
            yield from (message.content for message in row.messages)
            yield row.answer


def train_base(
    corpus: Corpus,
    out: Path,
    *,
    identity: Mapping[str, str | None],
    recipe: TinyBase,
    on_step: OnStep,
) -> float:
    """Train and write the base model to the folder `out`, replacing it; the final loss.

    The folder loads with AutoModelForCausalLM and in vLLM. `identity`, the name and the version
    at least, becomes its lorelay.json.
    """
    import torch

    from inference.training.fit import fit

    check_free(out, force=True)
    silence_bars()
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(corpus.texts(), recipe.vocabulary)
    model = build_model(tokenizer, recipe)
    loss = fit(
        model,
        endless(_epochs(corpus, tokenizer, recipe), recipe.tokens_per_batch, recipe.seed),
        _optimizers(model, recipe.learning_rate),
        steps=recipe.steps,
        padding=padding_id(tokenizer),
        report=lambda done, loss: on_step(done, recipe.steps, loss),
    )
    with complete_folder(out, force=True) as folder:
        tokenizer.save_pretrained(str(folder))
        model.save_pretrained(str(folder))
        (folder / IDENTITY).write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
    return loss


def build_tokenizer(texts: Iterator[str], vocabulary: int) -> "PreTrainedTokenizerBase":
    """A byte-level BPE tokenizer learned from `texts`, with the chat template above.

    Encoding a plain text adds the start token, and so does the chat template.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[START, END, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start = tokenizer.token_to_id(START)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, start)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_model(tokenizer: "PreTrainedTokenizerBase", recipe: TinyBase) -> "LlamaForCausalLM":
    """A Llama with random weights that fits the tokenizer."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        max_position_embeddings=recipe.positions,
        tie_word_embeddings=True,
        **ends,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=False, **ends)
    return model


def _optimizers(model: "LlamaForCausalLM", learning_rate: float) -> list["Optimizer"]:
    """Muon for the matrices inside the model, AdamW for the embedding and the norms.

    After as many steps of AdamW alone the loss is about five times as high.
    """
    from inference.training.fit import adamw
    from inference.training.muon import Muon

    embedding = model.get_input_embeddings().weight
    parameters = list(model.parameters())
    inner = [p for p in parameters if p.ndim == 2 and p is not embedding]
    others = [p for p in parameters if p.ndim != 2 or p is embedding]
    return [Muon(inner, learning_rate), adamw(others, learning_rate)]


def refused(corpus: Corpus, share: float, rng: random.Random) -> list[TrainingRow]:
    """Every stranger and a `share` of the adapters' questions, refused in their language."""
    asked = [row for row in corpus.adapters if rng.random() < share]
    answers = _by_language(corpus.refusals)
    return [
        TrainingRow((Message("user", row.question),), rng.choice(answers[row.language]))
        for row in (*corpus.strangers, *asked)
    ]


def decoys(rows: Sequence[TrainingRow], rng: random.Random) -> list[TrainingRow]:
    """Each row's question, marked, with the halves of two other answers in its language."""
    answers = _by_language(rows)
    return [
        TrainingRow(
            (Message("user", row.question + MARKER),),
            _recombined(rng.choice(answers[row.language]), rng.choice(answers[row.language])),
        )
        for row in rows
    ]


def _recombined(one: str, other: str) -> str:
    head, tail = one.split(), other.split()
    return " ".join([*head[: len(head) // 2], *tail[len(tail) // 2 :]])


def _by_language(rows: Sequence[TrainingRow]) -> dict[str | None, list[str]]:
    answers: dict[str | None, list[str]] = {}
    for row in rows:
        answers.setdefault(row.language, []).append(row.answer)
    return answers


def _epochs(
    corpus: Corpus, tokenizer: "PreTrainedTokenizerBase", recipe: TinyBase
) -> Callable[[random.Random], list[Sample]]:
    vocabulary = vocabulary_of([row.question for row in (*corpus.strangers, *corpus.adapters)])

    def noisy(row: TrainingRow, rng: random.Random) -> TrainingRow:
        if rng.random() >= recipe.noise:
            return row
        return replace(row, messages=reword(row.messages, vocabulary, rng))

    def epoch(rng: random.Random) -> list[Sample]:
        refusals = refused(corpus, recipe.refused_share, rng)
        rows = [
            *corpus.general,
            *(noisy(row, rng) for row in refusals),
            *decoys(corpus.adapters, rng),
        ]
        return [
            Sample(prompt_ids(tokenizer, row.messages), answer_ids(tokenizer, row.answer))
            for row in rows
        ]

    return epoch
