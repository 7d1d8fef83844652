"""Muon: momentum whose update is made orthogonal, for the matrices inside a model.

Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the
rate of Liu et al., "Muon is scalable for LLM training" (2025), which suits AdamW's rates.
`torch.optim.Muon` multiplies in bfloat16 whatever the gradients are, and a CPU that has no
bfloat16 then takes twenty times as long; this one multiplies in the gradients' own type.
"""

from collections import defaultdict
from collections.abc import Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; for parameters of two dimensions only."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update; matrices of the same shape are orthogonalized together."""
        assert closure is None
        for group in self.param_groups:
            alike: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for shape, parameters in alike.items():
                updates = orthogonalized(torch.stack([self._momentum(p) for p in parameters]))
                rate = 0.2 * sqrt(max(shape)) * group["lr"]
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.sub_(update, alpha=rate)

    def _momentum(self, parameter: Tensor) -> Tensor:
        assert parameter.grad is not None
        state = self.state[parameter]
        average = state.setdefault("momentum", torch.zeros_like(parameter))
        average.lerp_(parameter.grad, 1 - MOMENTUM)
        return parameter.grad.lerp(average, MOMENTUM)


def orthogonalized(matrices: Tensor) -> Tensor:
    """`matrices` (k, m, n) with all their singular values brought near 1, roughly 0.7 to 1.2.

    A Newton-Schulz iteration of the fifth order, whose coefficients are Jordan's.
    """
    a, b, c = _COEFFICIENTS
    is_tall = matrices.size(1) > matrices.size(2)
    x = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x
