"""Keeps adapters off the base model's rows on a CPU; imported in each of vLLM's workers.

A row without an adapter has the slot -1. vLLM 0.32's kernels in Torch take it for the last of the
``max_loras`` slots, so once that many adapters have been in use, the base model's requests are
answered with the weights of whichever adapter is there. GPU kernels pass such rows over.

A server of vLLM's own on a CPU needs it as well:
``--worker-extension-cls inference.engine.vllm_cpu_lora.CpuLora``.
"""

from collections.abc import Callable
from typing import Any


class CpuLora:
    """For vLLM's ``worker_extension_cls``, which its workers import before they make the model.

    It adds nothing to vLLM's own worker class; what counts is that this module is imported.
    """


def spare_rows_without_adapter(expand: Callable[..., None]) -> Callable[..., None]:
    """The kernel that adds an adapter's part to the output, for rows that have one.

    Its inputs are (n, rank), its fourth argument the slots (n,), -1 for none.
    """

    def spared(
        inputs: Any, weights: Any, output: Any, slots: Any, *rest: Any, **named: Any
    ) -> None:
        without = slots < 0
        if without.any():
            inputs = inputs.masked_fill(without.unsqueeze(1), 0.0)
        expand(inputs, weights, output, slots, *rest, **named)

    return spared


def _install() -> None:
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for name in ("bgmv_expand", "bgmv_expand_slice"):
        spared = spare_rows_without_adapter(getattr(lora_ops, name))
        # The kernels for prompts look these names up in their own module.
        setattr(lora_ops, name, spared)
        setattr(punica_cpu, name, spared)


_install()
