"""What an adapter is selected by, for whoever asks why or how well."""

from dataclasses import dataclass

from schemas.records import Example
from streams.selection.calibration import Thresholds
from streams.selection.head import Head
from streams.selection.index import Vectors


@dataclass(frozen=True, slots=True)
class Material:
    """One adapter's ``examples``, each text once, and ``vectors`` (m, d), a row for each.

    ``head`` is its classifier. An example that didn't state its language has the detected one.
    ``listed`` are the languages that the adapter says it answers in, empty where it doesn't say.
    """

    examples: tuple[Example, ...]
    vectors: Vectors
    head: Head
    thresholds: Thresholds
    listed: frozenset[str]
