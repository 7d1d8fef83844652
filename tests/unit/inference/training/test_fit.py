import pytest

pytest.importorskip("peft")

import torch
from torch.nn import functional

from inference.training.batches import Sample
from inference.training.fit import IGNORED, answer_loss, padded

VOCABULARY = 11


def random_logits(rows: int, width: int) -> torch.Tensor:
    return torch.randn(rows, width, VOCABULARY, generator=torch.Generator().manual_seed(0))


def test_a_batch_is_padded_on_the_right_and_only_answers_are_learned() -> None:
    ids, labels, weights = padded([Sample([1, 2], [3]), Sample([4], [5, 6, 7], weight=2.0)], 0)
    assert ids.tolist() == [[1, 2, 3, 0], [4, 5, 6, 7]]
    assert labels.tolist() == [[IGNORED, IGNORED, 3, IGNORED], [IGNORED, 5, 6, 7]]
    assert weights.tolist() == [1.0, 2.0]


def test_equal_weights_give_the_plain_mean_over_answer_tokens() -> None:
    _, labels, weights = padded([Sample([1, 2], [3]), Sample([4], [5, 6, 7])], 0)
    logits = random_logits(2, 4)
    plain = functional.cross_entropy(
        logits[:, :-1].reshape(-1, VOCABULARY), labels[:, 1:].reshape(-1), ignore_index=IGNORED
    )
    assert answer_loss(logits, labels, weights).item() == pytest.approx(plain.item())


def test_the_loss_is_the_sum_of_each_rows_share_times_its_weight() -> None:
    _, labels, _ = padded([Sample([1], [3, 4]), Sample([2], [5, 6])], 0)
    logits = random_logits(2, 3)

    def loss(*weights: float) -> float:
        return answer_loss(logits, labels, torch.tensor(weights)).item()

    assert loss(3.0, 0.5) == pytest.approx(3.0 * loss(1.0, 0.0) + 0.5 * loss(0.0, 1.0))


def test_a_weight_counts_in_a_batch_of_one_row_too() -> None:
    _, labels, _ = padded([Sample([1], [3, 4])], 0)
    logits = random_logits(1, 3)
    one, double = (answer_loss(logits, labels, torch.tensor([w])).item() for w in (1.0, 2.0))
    assert double == pytest.approx(2 * one)


def test_a_row_of_weight_zero_has_no_gradient() -> None:
    _, labels, _ = padded([Sample([1], [3, 4]), Sample([2], [5, 6])], 0)
    logits = random_logits(2, 3).requires_grad_()
    answer_loss(logits, labels, torch.tensor([1.0, 0.0])).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1].abs().sum() == 0


def test_a_batch_with_nothing_to_learn_has_loss_zero() -> None:
    labels = torch.full((1, 3), IGNORED)
    assert answer_loss(random_logits(1, 3), labels, torch.ones(1)).item() == 0.0
