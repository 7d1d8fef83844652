"""One encoder for queries and for examples, where queries go first."""

from collections.abc import Sequence
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.selection.encoder import Encoder

#: Examples that are encoded between two looks for queries: 10 ms.
_EXAMPLES: Final = 16
#: Examples wait no longer than this for queries, which may never pause.
_PATIENCE_SECONDS: Final = 0.05


class QueryEncoder:
    """An ``Encoder`` that knows whether it is at work; for one thread at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.dimensions = encoder.name, encoder.dimensions
        self.encoder = encoder
        self.at_work = Lock()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions)."""
        with self.at_work:
            return self.encoder.encode(texts)


class ExampleEncoder:
    """An ``Encoder`` that stands back while queries are encoded.

    Both would share the interpreter, and each step of one would wait for the other.
    """

    def __init__(self, queries: QueryEncoder) -> None:
        self.name, self.dimensions = queries.name, queries.dimensions
        self._queries = queries

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions), encoded few at a time."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), _EXAMPLES):
            if self._queries.at_work.acquire(timeout=_PATIENCE_SECONDS):
                self._queries.at_work.release()
            part = slice(start, start + _EXAMPLES)
            vectors[part] = self._queries.encoder.encode(texts[part])
        return vectors
