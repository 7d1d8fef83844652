import pytest

pytest.importorskip("peft")

import torch

from inference.training.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 16), (2, 16, 4)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape) * 100))
    assert values.min() > 0.5 and values.max() < 1.3


def test_directions_stay_as_they_were() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(1, 6, 10)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.mT @ orthogonalized(matrix) @ right.mT
    off_diagonal = turned - torch.diag_embed(torch.diagonal(turned, dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 1e-4


def test_no_gradient_makes_no_numbers_out_of_nothing() -> None:
    assert orthogonalized(torch.zeros(1, 4, 4)).abs().sum() == 0


def test_it_takes_the_same_steps_as_torch_does_in_bfloat16() -> None:
    torch.manual_seed(0)
    start = [torch.randn(12, 20), torch.randn(12, 20), torch.randn(20, 12)]
    ours = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    theirs = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    optimizers = [
        Muon(ours, 1e-2),
        torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        change, same = one - before, other - before
        assert (
            torch.nn.functional.cosine_similarity(change.flatten(), same.flatten(), dim=0) > 0.999
        )
        assert torch.allclose(change.norm(), same.norm(), rtol=0.02)
