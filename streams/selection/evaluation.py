"""How good decisions are on queries whose right adapter is known. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.selection.decision import Decision
from streams.selection.labelled import LabelledQuery


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``total``."""

    count: int
    total: int

    @property
    def rate(self) -> float | None:
        """Within 0..1; None of nothing."""
        return self.count / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A query that went elsewhere than it belongs; ``confidence`` within 0..1 is how sure the
    decision was of itself, None where nothing tells."""

    query: LabelledQuery
    decision: Decision
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What became of labelled queries; adapters are ``id@version``, None is none of them.

    ``accuracy`` counts all queries, those of no adapter too. Of the queries of an adapter, each is
    either answered by it (``routed``), by another (``misrouted``) or by none (``rejected``);
    ``nearest`` counts those whose nearest adapter is theirs, whatever the thresholds say.
    ``caught`` are the queries of no adapter that none answers.

    ``confusion`` counts by (expected, chosen), ``by_language`` by the decision's language, None
    where it isn't known. ``known`` are queries that stand word for word among the examples: they
    test nothing. ``mistakes`` begin with those that the selection was surest of.
    """

    accuracy: Share
    routed: Share
    misrouted: Share
    rejected: Share
    nearest: Share
    caught: Share
    confusion: Mapping[tuple[str | None, str | None], int]
    by_adapter: Mapping[str | None, Share]
    by_language: Mapping[str | None, Share]
    known: tuple[LabelledQuery, ...]
    mistakes: tuple[Mistake, ...]


def evaluate(
    queries: Sequence[LabelledQuery], decisions: Sequence[Decision], examples: Collection[str]
) -> Evaluation:
    """Compares each query's label with the decision on it; ``examples`` are all adapters' texts."""
    pairs = list(zip(queries, decisions, strict=True))
    own = [(query, decided) for query, decided in pairs if query.adapter is not None]
    none = [decided for query, decided in pairs if query.adapter is None]
    answered = [(query, decided) for query, decided in own if decided.adapter is not None]
    return Evaluation(
        accuracy=_share(_is_right(query, decided) for query, decided in pairs),
        routed=_share(_is_right(query, decided) for query, decided in own),
        misrouted=Share(sum(not _is_right(*pair) for pair in answered), len(own)),
        rejected=_share(decided.adapter is None for _, decided in own),
        nearest=_share(_nearest(decided) == query.adapter for query, decided in own),
        caught=_share(decided.adapter is None for decided in none),
        confusion=Counter((query.adapter, decided.adapter) for query, decided in pairs),
        by_adapter=_by(lambda query, _: query.adapter, pairs),
        by_language=_by(lambda _, decided: decided.language, pairs),
        known=tuple(query for query in queries if query.text in examples),
        mistakes=_mistakes(pairs),
    )


_Pair = tuple[LabelledQuery, Decision]


def _is_right(query: LabelledQuery, decision: Decision) -> bool:
    return decision.adapter == query.adapter


def _nearest(decision: Decision) -> str | None:
    return decision.candidates[0].adapter if decision.candidates else None


def _share(outcomes: Iterable[bool]) -> Share:
    seen = list(outcomes)
    return Share(sum(seen), len(seen))


def _by(
    key: Callable[[LabelledQuery, Decision], str | None], pairs: Sequence[_Pair]
) -> dict[str | None, Share]:
    """The share of right decisions by a key, in its order, None last."""
    groups: dict[str | None, list[bool]] = {}
    for pair in pairs:
        groups.setdefault(key(*pair), []).append(_is_right(*pair))
    order = sorted(groups, key=lambda name: (name is None, name or ""))
    return {name: _share(groups[name]) for name in order}


def _mistakes(pairs: Iterable[_Pair]) -> tuple[Mistake, ...]:
    wrong = [Mistake(*pair, _confidence(pair[1])) for pair in pairs if not _is_right(*pair)]
    return tuple(sorted(wrong, key=_surety, reverse=True))


def _confidence(decision: Decision) -> float | None:
    """The probability that the decision gives itself: that nobody is right is the rest of it."""
    if decision.probability is None:
        return None
    return decision.probability if decision.adapter is not None else 1.0 - decision.probability


def _surety(mistake: Mistake) -> tuple[float, float]:
    """Most sure first: by confidence, then by how far the score lies from its threshold."""
    decision = mistake.decision
    confidence = 0.5 if mistake.confidence is None else mistake.confidence
    if decision.score is None or decision.threshold is None:
        return confidence, 0.0
    return confidence, abs(decision.score - decision.threshold)
