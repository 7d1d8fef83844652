"""Several encoders as one: what one of them can't tell apart, another often can."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError
from streams.selection.encoder import Encoder

SEPARATOR = "+"


class JoinedEncoder:
    """An ``Encoder`` whose vectors are those of others, one after the other.

    Each has the same weight, so the cosine of two texts is the mean of the others' cosines.
    Encoding takes as long as all of them together.
    """

    def __init__(self, encoders: Sequence[Encoder]) -> None:
        """Raises: ConfigurationError where an encoder is there twice."""
        self.name = SEPARATOR.join(encoder.name for encoder in encoders)
        if len({encoder.name for encoder in encoders}) < len(encoders):
            raise ConfigurationError(f"The encoder {self.name!r} names one of its parts twice.")
        self.dimensions = sum(encoder.dimensions for encoder in encoders)
        self._encoders = tuple(encoders)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions)."""
        parts = [encoder.encode(texts) for encoder in self._encoders]
        joined: NDArray[np.float32] = np.concatenate(parts, axis=1)
        joined /= np.sqrt(np.float32(len(parts)))
        return joined
