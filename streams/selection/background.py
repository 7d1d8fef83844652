"""Queries of no particular topic: what all have in common, and what a translation does to one.

``background.tsv`` holds everyday questions and requests, written for this purpose: a column for
each language, a line for each query.
"""

from dataclasses import dataclass
from importlib.resources import files
from itertools import combinations

import numpy as np

from streams.selection.encoder import Encoder
from streams.selection.index import Vectors

# How much of the background's mean is taken off each vector. Sentence encoders give all queries
# a common direction (that they are questions, for one), which tells no topics apart. On CLINC150
# (50 examples), taking half of it off raises the out-of-scope recall at 5 % false rejects from
# 56 to 60 %; taking it all gives 61 % and begins to cost accuracy where examples are few.
_CENTRE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Background:
    """``centre`` (d,) is taken off all vectors; ``vectors`` (n, d) are the texts' own, centred.

    ``translation`` within 0..1 is the mean cosine between a text and itself in another language:
    what is left of a likeness when query and examples differ in language.
    """

    centre: Vectors
    vectors: Vectors
    languages: tuple[str, ...]
    translation: float

    @classmethod
    def encoded_by(cls, encoder: Encoder) -> "Background":
        """The background as an encoder sees it; takes about a tenth of a second."""
        lines = files(__package__).joinpath("background.tsv").read_text("utf-8").splitlines()
        languages, *rows = (line.split("\t") for line in lines)
        texts = [text for column in zip(*rows, strict=True) for text in column]
        plain = encoder.encode(texts)
        centre = _CENTRE_SHARE * plain.mean(axis=0)
        vectors = centred(plain, centre)
        spoken = tuple(language for language in languages for _ in rows)
        return cls(centre, vectors, spoken, _translation(vectors, len(languages)))


def _translation(vectors: Vectors, languages: int) -> float:
    """``vectors`` (languages * texts, d), all texts of a language together, in the same order."""
    by_language = vectors.reshape(languages, -1, vectors.shape[1])
    pairs = combinations(by_language, 2)
    cosines = [float(np.einsum("ij,ij->i", one, other).mean()) for one, other in pairs]
    return min(1.0, max(0.0, sum(cosines) / len(cosines)))


def centred(vectors: Vectors, centre: Vectors) -> Vectors:
    """Vectors (n, d) less the centre (d,), of unit length again."""
    moved = vectors - centre
    norms = np.sqrt(np.einsum("ij,ij->i", moved, moved))[:, None]
    moved /= np.maximum(norms, np.finfo(np.float32).tiny)
    return moved
