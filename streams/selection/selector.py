"""The choice of an adapter for a query, with its reason."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from schemas.records import Example
from streams.selection import logistic
from streams.selection.background import Background, centred
from streams.selection.calibration import (
    FALSE_REJECT,
    CalibrationTexts,
    Thresholds,
    calibration_texts,
)
from streams.selection.centroids import axes_of
from streams.selection.decision import Decision, decide
from streams.selection.encoder import Encoder
from streams.selection.explanation import Explanation, explain
from streams.selection.fitting import Fitted, Learnt, centre_of, fit_all
from streams.selection.head import Heads
from streams.selection.index import ExampleIndex, Vectors
from streams.selection.language import LanguageDetector, primary_language
from streams.selection.material import Material
from streams.selection.probes import Probes
from streams.selection.reach import fit_reach
from streams.selection.rivalry import Rivalry, ThresholdTable, fit_rivalry
from streams.selection.scoring import Scoring
from streams.selection.shortlist import Shortlist

__all__ = ["Decision", "Learnt", "Selector", "load_what_fitting_needs"]

# The part of the false rejects that may be spent on telling near ties; thresholds get the rest.
MARGIN_SHARE = 0.2

# Examples that are encoded in one step: fewer cost more each, more hold queries up for longer.
_STEP = 16

# Examples in all up to which a query is compared with every adapter: it costs 0.1 ms at most.
EXACT_UP_TO = 8_000


#: Lets others go first, if there are any.
GiveWay = Callable[[], None]


def load_what_fitting_needs() -> None:
    """What a ``Selector`` loads on first use, a second or two of CPU; in whichever thread."""
    logistic.load()
    LanguageDetector()


def _go_on() -> None:
    """For when there are none."""


@dataclass(frozen=True, slots=True)
class _State:
    """Everything that a batch is decided on; never changed, only replaced."""

    fitted: Mapping[str, Fitted]
    scoring: Scoring
    probes: Probes
    table: ThresholdTable
    rivalry: Rivalry
    detector: LanguageDetector


class Selector:
    """Picks the adapter whose examples a query resembles most, or none of them.

    All methods may be called from different threads: a ``select`` works on the state it began
    with, to its end. What was learnt in which order makes no difference.

    ``false_reject`` is the share of an adapter's own kind of queries that may be turned away. With
    more than ``exact_up_to`` examples in all, a query is compared only with the adapters that come
    into question: with so many of them that decisions stay what they are.
    """

    def __init__(
        self,
        encoder: Encoder,
        false_reject: float = FALSE_REJECT,
        exact_up_to: int = EXACT_UP_TO,
    ) -> None:
        self.encoder = encoder
        self._for_scores = false_reject * (1.0 - MARGIN_SHARE)
        self._for_margin = false_reject * MARGIN_SHARE
        self._exact_up_to = exact_up_to
        self._background = Background.encoded_by(encoder)
        self._change = Lock()
        index = ExampleIndex(axes_of(self._background.vectors))
        self._state = self._state_of({}, index, (), Probes.none(index))

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters that take part, sorted."""
        return self._state.scoring.index.adapters

    @property
    def reach(self) -> int | None:
        """How many adapters a query is compared with; None where that is all."""
        shortlist = self._state.scoring.shortlist
        return None if shortlist is None else shortlist.count

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

        ``languages`` are those the adapter lists. An adapter without examples doesn't take part;
        one with a single example is never chosen, as nothing shows how near is near.
        """
        self.change({adapter: self.study(examples, languages)})

    def forget(self, adapter: str) -> None:
        """Takes an adapter out; nothing happens where it wasn't learnt."""
        self.change({adapter: None})

    def study(
        self,
        examples: Sequence[Example],
        languages: Iterable[str] = (),
        give_way: GiveWay = _go_on,
    ) -> Learnt | None:
        """What ``change`` lets an adapter take part with; None where it has no examples.

        Encodes the examples, about 0.6 ms each, so call it beside live traffic in a thread.
        ``give_way`` is called before each step of about 10 ms, to let queries go first: both
        would share the interpreter, and each would wait for the other.
        """
        listed = {tag for tag in map(primary_language, languages) if tag}
        return self._learnt(_distinct(examples), listed, give_way)

    def change(self, learnt: Mapping[str, Learnt | None], give_way: GiveWay = _go_on) -> None:
        """Lets adapters take part with what they were studied to, or no more where that is None.

        Many are best changed at once: each call fits anew what depends on neighbours, about 0.1 s
        for each adapter that has got others; ``give_way`` is called before each step of that.
        """
        with self._change:
            before = self._state
            changes = {a: new for a, new in learnt.items() if new or a in before.fitted}
            if changes:
                kept = {adapter: one.learnt for adapter, one in before.fitted.items()}
                now = {adapter: own for adapter, own in {**kept, **changes}.items() if own}
                index = before.scoring.index.changed(
                    {adapter: new.vectors if new else None for adapter, new in changes.items()}
                )
                self._state = self._state_of(
                    now, index, before.fitted.values(), before.probes, give_way
                )

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

    def _learnt(
        self, examples: Sequence[Example], listed: set[str], give_way: GiveWay
    ) -> Learnt | None:
        if not examples:
            return None
        detector = LanguageDetector(listed)
        plain = np.empty((len(examples), self.encoder.dimensions), np.float32)
        spoken: list[str | None] = []
        for start in range(0, len(examples), _STEP):
            give_way()
            part = examples[start : start + _STEP]
            texts = [example.text for example in part]
            plain[start : start + _STEP] = self.encoder.encode(texts)
            spoken += _languages(detector, texts, [example.language for example in part])
        vectors = centred(plain, self._background.centre)
        held_out = np.array([example.held_out for example in examples], bool)
        return Learnt(
            tuple(map(_spoken_in, examples, spoken)),
            vectors,
            centre_of(vectors),
            calibration_texts(vectors, spoken, held_out, self._background.translation),
            frozenset(listed),
            frozenset(listed.union(filter(None, spoken))),
        )

    def _state_of(
        self,
        learnt: Mapping[str, Learnt],
        index: ExampleIndex,
        known: Iterable[Fitted],
        before: Probes,
        give_way: GiveWay = _go_on,
    ) -> _State:
        """The state that follows from what is learnt of each adapter, and from nothing else.

        What is ``known`` of adapters whose rivals stay the same needn't be fitted again, nor
        compared what was ``before``.
        """
        ordered = [learnt[adapter] for adapter in index.adapters]
        fitted = fit_all(ordered, known, self._background, self._for_scores, give_way)
        likeness = {adapter: own.texts for adapter, own in learnt.items()}
        probes = before.changed(index, likeness, self._background, give_way)
        table = ThresholdTable.of([one.thresholds for one in fitted])
        by_adapter = dict(zip(index.adapters, fitted, strict=True))
        spoken = frozenset[str]().union(*(kept.languages for kept in learnt.values()))
        detector = LanguageDetector(spoken)
        if not fitted:
            return _State({}, Scoring(index), probes, table, Rivalry(), detector)
        heads = Heads.of([one.head for one in fitted])
        scored = probes.scored(heads)
        rivalry = fit_rivalry(scored, table, self._for_margin)
        reach = None
        if index.examples > self._exact_up_to:
            reach = fit_reach(scored, table, rivalry.min_margin)
        shortlist = None if reach is None else Shortlist.of(index, reach)
        scoring = Scoring(index, heads, shortlist)
        return _State(by_adapter, scoring, probes, table, rivalry, detector)


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
