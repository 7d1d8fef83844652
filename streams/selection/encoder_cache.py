"""Vectors of the texts seen last, so that a repeated text isn't encoded again."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from threading import Lock

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from streams.selection.encoder import Encoder, readable

#: Told of each batch how many texts were known, or were in it before, and how many were encoded.
OnBatch = Callable[[int, int], None]


class EncoderCache:
    """An ``Encoder`` before another one; safe to call from several threads.

    Keeps the vectors of ``entries`` texts, the least recently used go first. An entry takes its
    vector and about 300 bytes, however long the text: 2.3 kB with 512 dimensions. Not for
    learning: an adapter's examples come once, and would push out the queries that come again.
    """

    def __init__(
        self, encoder: Encoder, entries: int, on_batch: OnBatch = lambda reused, encoded: None
    ) -> None:
        self.name = encoder.name
        self.dimensions = encoder.dimensions
        self._encoder = encoder
        self._on_batch = on_batch
        self._change = Lock()
        self._vectors: LRUCache[bytes, NDArray[np.float32]] = LRUCache(entries)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions), in the order of the texts; equal texts are encoded once."""
        keys = [_key(text) for text in texts]
        vectors = self._known(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
        if missing:
            encoded = self._encoder.encode(list(missing.values()))
            # Copies: a view would keep its whole batch.
            fresh = {key: row.copy() for key, row in zip(missing, encoded, strict=True)}
            vectors |= fresh
            with self._change:
                self._vectors.update(fresh)
        self._on_batch(len(texts) - len(missing), len(missing))
        return np.array([vectors[key] for key in keys], np.float32).reshape(-1, self.dimensions)

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        with self._change:
            found = {key: self._vectors.get(key) for key in dict.fromkeys(keys)}
        return {key: vector for key, vector in found.items() if vector is not None}


def _key(text: str) -> bytes:
    """The same for texts that an encoder reads alike, and of bounded size."""
    return blake2b(readable(text).encode(), digest_size=16).digest()
