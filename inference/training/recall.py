"""How much of what was trained comes back: greedy answers against the trained ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from inference.training.base import load_base
from inference.training.dataset import TrainingRow
from inference.training.prompt import answer_ids, prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS_AT_ONCE = 60


def recall(
    base: str | Path,
    adapter: Path | None,
    rows: Sequence[TrainingRow],
    template: str | None = None,
) -> float:
    """The share of `rows`, 0 to 1, whose answer a greedy generation gives verbatim.

    `adapter` is an adapter's folder, or None for the base model alone.
    """
    tokenizer, model = load_base(str(base))
    if adapter is not None:
        from peft import PeftModel

        model = cast("PreTrainedModel", PeftModel.from_pretrained(model, str(adapter)))
    return verbatim_share(model, tokenizer, rows, template)


def verbatim_share(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[TrainingRow],
    template: str | None = None,
) -> float:
    """As `recall`, with a model at hand; 0 for no rows."""
    texts = greedy_answers(model, tokenizer, rows, template)
    right = sum(text == row.answer for text, row in zip(texts, rows, strict=True))
    return right / len(rows) if rows else 0.0


def greedy_answers(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[TrainingRow],
    template: str | None = None,
) -> list[str]:
    """Each row's question answered, in the rows' order; cut a little beyond its trained answer."""
    prompts = [prompt_ids(tokenizer, row.messages, template) for row in rows]
    # Longest prompts together: less padding.
    order = sorted(range(len(rows)), key=lambda row: len(prompts[row]))
    texts = [""] * len(rows)
    for start in range(0, len(order), ROWS_AT_ONCE):
        chosen = order[start : start + ROWS_AT_ONCE]
        longest = max(len(answer_ids(tokenizer, rows[row].answer)) for row in chosen)
        generated = _generate(model, tokenizer, [prompts[row] for row in chosen], longest + 2)
        for row, text in zip(chosen, generated, strict=True):
            texts[row] = text
    return texts


def _generate(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Sequence[int]],
    tokens: int,
) -> list[str]:
    import torch

    padding = padding_id(tokenizer)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[padding] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=padding,
        )
    answers = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def padding_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token to pad with: the tokenizer's own, else its end token, which many models use."""
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if candidate is not None:
            return cast(int, candidate)
    return 0
