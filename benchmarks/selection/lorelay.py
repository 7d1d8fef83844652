"""This project's selector as a contender: through its public decisions, and nothing else."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.selection.queries import LabelledQuery
from benchmarks.selection.trial import Answers, Outcome, Trial
from streams.selection.encoder import Encoder
from streams.selection.joined import SEPARATOR, JoinedEncoder
from streams.selection.selector import Decision, Selector

FALSE_REJECT = 0.05

# A decision's probability is stated for queries on and off topic that are equally frequent.
STRANGERS = 0.5

# Queries that are decided on together; a busy router takes up to twice as many.
BATCH = 128


def acceptance(decision: Decision) -> float:
    """The score that the selector holds against a threshold; -1, its least, without adapters."""
    return -1.0 if decision.score is None else decision.score


class RememberingEncoder:
    """An encoder that encodes each text once: draws share most of theirs."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.dimensions = encoder.name, encoder.dimensions
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimensions)."""
        new = list({text: None for text in texts if text not in self._known})
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        vectors = [self._known[text] for text in texts]
        return np.array(vectors, np.float32).reshape(len(texts), self.dimensions)


def remembering(encoders: Sequence[Encoder]) -> list[Encoder]:
    """The encoders, each text to be encoded once; one joined of others shares what they know."""
    known = {encoder.name: RememberingEncoder(encoder) for encoder in encoders}
    found: list[Encoder] = []
    for name, encoder in known.items():
        parts = name.split(SEPARATOR)
        is_shared = len(parts) > 1 and known.keys() >= set(parts)
        found.append(JoinedEncoder([known[part] for part in parts]) if is_shared else encoder)
    return found


class Lorelay:
    """The selector over an encoder, with the thresholds it ships with: fitted on examples alone.

    An adapter lists the languages of its examples and no other.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self._encoder = encoder

    def examined(self, trials: Sequence[Trial]) -> list[Outcome]:
        """Takes each trial with a selector of its own."""
        return [self._examined(trial) for trial in trials]

    def _examined(self, trial: Trial) -> Outcome:
        selector = Selector(self._encoder, FALSE_REJECT)
        selector.change(
            {
                adapter: selector.study(own, {one.language for one in own if one.language})
                for adapter, own in trial.examples.items()
            }
        )
        fitting, _ = _answers(selector, trial.fitting)
        asked, seconds = _answers(selector, trial.asked)
        return Outcome(fitting, asked, seconds, STRANGERS)


def _answers(selector: Selector, queries: Sequence[LabelledQuery]) -> tuple[Answers, float]:
    """The answers, the queries' languages to be detected, and the seconds that each one took."""
    texts = [query.text for query in queries]
    vectors = selector.encoder.encode(texts)
    decided: list[Decision] = []
    began = time.perf_counter()
    for start in range(0, len(texts), BATCH):
        batch = slice(start, start + BATCH)
        unknown: list[str | None] = [None] * len(texts[batch])
        decided += selector.select(vectors[batch], texts[batch], unknown)
    seconds = (time.perf_counter() - began) / max(1, len(texts))
    answers = Answers(
        tuple(d.candidates[0].adapter if d.candidates else None for d in decided),
        tuple(d.adapter for d in decided),
        np.array([acceptance(d) for d in decided], np.float64),
        np.array([np.nan if d.probability is None else d.probability for d in decided], np.float64),
    )
    return answers, seconds
