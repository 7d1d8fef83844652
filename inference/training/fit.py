"""The training loop: weighted loss on the answers, a linear decay, a fixed number of steps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from inference.training.batches import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IGNORED = -100
"""The label of a token that is not learned, as torch.nn.functional.cross_entropy has it."""

SMALL = 100_000_000
"""The number of parameters up to which a model is trained in the way of small ones."""

Report = Callable[[int, float], None]
"""Called after each step with the number of steps done and a smoothed loss per answer token."""


def padded(batch: Sequence[Sample], padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """(token ids (n, t), labels (n, t), weights (n,)) of a batch, padded on the right.

    Padding needs no attention mask: under causal attention no earlier token sees it, and its
    own labels are ignored.
    """
    width = max(sample.length for sample in batch)
    ids = torch.full((len(batch), width), padding)
    labels = torch.full((len(batch), width), IGNORED)
    for row, sample in enumerate(batch):
        ids[row, : sample.length] = torch.tensor([*sample.prompt, *sample.answer])
        labels[row, len(sample.prompt) : sample.length] = torch.tensor(sample.answer)
    return ids, labels, torch.tensor([sample.weight for sample in batch])


def answer_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean cross-entropy per learned token, each row's tokens times the row's weight.

    `logits` (n, t, vocabulary), `labels` (n, t), `weights` (n,). The sum is divided by the number
    of learned tokens and not by the weights, so that a weight counts in a batch of one row too.
    """
    learned = labels[:, 1:] != IGNORED
    # Only the logits of learned tokens are copied: questions and padding are half of all.
    losses = functional.cross_entropy(
        logits[:, :-1][learned].float(), labels[:, 1:][learned], reduction="none"
    )
    per_token = weights[:, None].expand(learned.shape)[learned]
    return (losses * per_token).sum() / learned.sum().clamp(min=1)


def adamw(parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
    """AdamW as all training here uses it: no decay, and a second moment of short memory."""
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )


def fit(
    model: "PreTrainedModel",
    batches: Iterable[Sequence[Sample]],
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    steps: int,
    padding: int,
    report: Report,
) -> float:
    """Train what the optimizers hold, one batch a step; the final smoothed loss.

    Their rates rise over the first twentieth of the steps (at most 20) and fall to zero after.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    schedules = [LambdaLR(optimizer, _rate(steps)) for optimizer in optimizers]
    smoothed = 0.0
    model.train()
    with _tuned_for_small_models(model):
        for step, batch in enumerate(islice(batches, steps), start=1):
            ids, labels, weights = (part.to(model.device) for part in padded(batch, padding))
            loss = answer_loss(model(input_ids=ids, use_cache=False).logits, labels, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            keep = min(0.95, 1 - 1 / step)
            smoothed = keep * smoothed + (1 - keep) * loss.item()
            report(step, smoothed)
    model.eval()
    return smoothed


def _rate(steps: int) -> Callable[[int], float]:
    warm_up = min(20, max(1, steps // 20))
    return lambda step: min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up))


@contextmanager
def _tuned_for_small_models(model: "PreTrainedModel") -> Iterator[None]:
    """On a CPU, products of float32 matrices in bfloat16 where the processor has it.

    That is 2.3 times as fast; weights, gradients and sums stay in float32. The fused attention
    is ten times slower in this mode when every batch has another shape, so attention is computed
    step by step, which takes memory that only a small model leaves.
    """
    if model.device.type != "cpu" or model.num_parameters() > SMALL:
        yield
        return
    precision, attention = torch.get_float32_matmul_precision(), model.config._attn_implementation
    torch.set_float32_matmul_precision("medium")
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        model.set_attn_implementation(attention)
