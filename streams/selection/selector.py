"""The choice of an adapter for a query, with its reason."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from schemas.records import Example
from streams.selection.background import Background, centred
from streams.selection.calibration import (
    FALSE_REJECT,
    CalibrationTexts,
    Thresholds,
    calibration_texts,
)
from streams.selection.decision import Decision, decide
from streams.selection.encoder import Encoder
from streams.selection.explanation import Explanation, explain
from streams.selection.fitting import Fitted, Learnt, fit_all
from streams.selection.head import Heads
from streams.selection.index import ExampleIndex, Vectors
from streams.selection.language import LanguageDetector, primary_language
from streams.selection.material import Material
from streams.selection.rivalry import Rivalry, ThresholdTable, fit_rivalry
from streams.selection.scoring import Scoring

__all__ = ["Decision", "Selector"]

# The part of the false rejects that may be spent on telling near ties; thresholds get the rest.
MARGIN_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class _State:
    """Everything that a batch is decided on; never changed, only replaced."""

    fitted: Mapping[str, Fitted]
    scoring: Scoring
    table: ThresholdTable
    rivalry: Rivalry
    detector: LanguageDetector


class Selector:
    """Picks the adapter whose examples a query resembles most, or none of them.

    ``learn``, ``forget`` and ``select`` may be called from different threads: a ``select`` works
    on the state it began with, to its end. What was learnt in which order makes no difference.

    ``false_reject`` is the share of an adapter's own kind of queries that may be turned away.
    """

    def __init__(self, encoder: Encoder, false_reject: float = FALSE_REJECT) -> None:
        self.encoder = encoder
        self._for_scores = false_reject * (1.0 - MARGIN_SHARE)
        self._for_margin = false_reject * MARGIN_SHARE
        self._background = Background.encoded_by(encoder)
        self._change = Lock()
        self._state = self._state_of({}, ())

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters that take part, sorted."""
        return self._state.scoring.index.adapters

    def thresholds(self, adapter: str) -> Thresholds:
        """What was fitted for an adapter; KeyError where it wasn't learnt."""
        return self._state.fitted[adapter].thresholds

    def material(self, adapter: str) -> Material:
        """What an adapter is selected by; KeyError where it wasn't learnt."""
        return _material(self._state.fitted[adapter])

    @property
    def background(self) -> Background:
        """The queries of no particular topic, as this encoder sees them."""
        return self._background

    def calibrations(self) -> dict[str, tuple[CalibrationTexts, Thresholds]]:
        """What each adapter's thresholds were fitted on, and what came of it."""
        return {a: (one.texts, one.thresholds) for a, one in self._state.fitted.items()}

    def learn(
        self, adapter: str, examples: Sequence[Example], languages: Iterable[str] = ()
    ) -> None:
        """Lets an adapter (``id@version``) take part, or replaces what was learnt for it.

        ``languages`` are those the adapter lists. Encodes the examples, about 0.6 ms each, so
        call it beside live traffic in a thread. An adapter without examples doesn't take part;
        one with a single example is never chosen, as nothing shows how near is near.
        """
        listed = {tag for tag in map(primary_language, languages) if tag}
        learnt = self._learnt(_distinct(examples), listed)
        with self._change:
            others = self._learnt_but(adapter)
            now = {**others, adapter: learnt} if learnt else others
            self._state = self._state_of(now, self._state.fitted.values())

    def forget(self, adapter: str) -> None:
        """Takes an adapter out; nothing happens where it wasn't learnt."""
        with self._change:
            if adapter in self._state.fitted:
                others = self._learnt_but(adapter)
                self._state = self._state_of(others, self._state.fitted.values())

    def _learnt_but(self, adapter: str) -> dict[str, Learnt]:
        return {a: one.learnt for a, one in self._state.fitted.items() if a != adapter}

    def select(
        self, vectors: Vectors, texts: Sequence[str], languages: Sequence[str | None]
    ) -> list[Decision]:
        """A decision for each query, in order.

        ``vectors`` (n, dimensions) are the encoder's for ``texts``; ``languages`` has each
        query's own word on its language, None to have it detected.
        """
        state = self._state
        spoken = _languages(state.detector, texts, languages)
        scores = state.scoring.scores(centred(vectors, self._background.centre))
        return decide(state.scoring.index.adapters, scores, spoken, state.table, state.rivalry)

    def explain(
        self, vectors: Vectors, texts: Sequence[str], languages: Sequence[str | None]
    ) -> list[Explanation]:
        """The decisions that ``select`` makes of the same queries, each with what led to it."""
        state = self._state
        queries = centred(vectors, self._background.centre)
        spoken = _languages(state.detector, texts, languages)
        scores = state.scoring.scores(queries)
        adapters = state.scoring.index.adapters
        decided = decide(adapters, scores, spoken, state.table, state.rivalry)
        return [
            explain(
                decision,
                query,
                dict(zip(adapters, row, strict=True)),
                lambda adapter: _material(state.fitted[adapter]),
            )
            for decision, query, row in zip(decided, queries, scores.tolist(), strict=True)
        ]

    def _learnt(self, examples: Sequence[Example], listed: set[str]) -> Learnt | None:
        if not examples:
            return None
        texts = [example.text for example in examples]
        vectors = centred(self.encoder.encode(texts), self._background.centre)
        spoken = _languages(
            LanguageDetector(listed), texts, [example.language for example in examples]
        )
        held_out = np.array([example.held_out for example in examples], bool)
        return Learnt(
            tuple(map(_spoken_in, examples, spoken)),
            vectors,
            calibration_texts(vectors, spoken, held_out, self._background.translation),
            frozenset(listed),
            frozenset(listed.union(filter(None, spoken))),
        )

    def _state_of(self, learnt: Mapping[str, Learnt], known: Iterable[Fitted]) -> _State:
        """The state that follows from what is learnt of each adapter, and from nothing else.

        What is ``known`` of adapters whose rivals stay the same needn't be fitted again.
        """
        vectors = {adapter: kept.vectors for adapter, kept in learnt.items()}
        index = ExampleIndex.of(vectors, self.encoder.dimensions)
        ordered = [learnt[adapter] for adapter in index.adapters]
        fitted = fit_all(ordered, known, self._background, self._for_scores)
        scoring = Scoring(index, Heads.of([one.head for one in fitted]) if fitted else None)
        table = ThresholdTable.of([one.thresholds for one in fitted])
        by_adapter = dict(zip(index.adapters, fitted, strict=True))
        texts = {adapter: one.texts for adapter, one in by_adapter.items()}
        rivalry = fit_rivalry(scoring, texts, table, self._background, self._for_margin)
        spoken = frozenset[str]().union(*(kept.languages for kept in learnt.values()))
        return _State(by_adapter, scoring, table, rivalry, LanguageDetector(spoken))


def _material(fitted: Fitted) -> Material:
    own = fitted.learnt
    return Material(own.examples, own.vectors, fitted.head, fitted.thresholds, own.listed)


def _spoken_in(example: Example, language: str | None) -> Example:
    return example if example.language == language else replace(example, language=language)


def _languages(
    detector: LanguageDetector, texts: Sequence[str], stated: Sequence[str | None]
) -> list[str | None]:
    """The stated languages, and the detected ones where nothing is stated."""
    spoken = [primary_language(tag) for tag in stated]
    unknown = [i for i, language in enumerate(spoken) if language is None]
    for i, language in zip(unknown, detector.detect([texts[i] for i in unknown]), strict=True):
        spoken[i] = language
    return spoken


def _distinct(examples: Sequence[Example]) -> list[Example]:
    """The examples less repeated texts, by text: what was learnt doesn't depend on the order."""
    by_text: dict[str, Example] = {}
    for example in examples:
        kept = by_text.get(example.text)
        if kept is None or (kept.held_out and not example.held_out):
            by_text[example.text] = example
    return [by_text[text] for text in sorted(by_text)]
