"""How much is lost when queries are written carelessly, politely, or in two languages at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.selection.draws import apart, drawn_examples, drawn_pairs
from benchmarks.selection.measures import mean
from benchmarks.selection.perturbation import PERTURBATIONS, mixed
from benchmarks.selection.queries import LabelledQuery, QuerySet
from benchmarks.selection.tables import Column, Table
from benchmarks.selection.trial import Contender, Outcome, Trial, missing, right
from schemas.records import Example

# Of each language, so that a perturbation shows within about one percent and takes seconds.
MOST_ASKED = 1_000

_SEED = 0
_MIXED = "second half in {}"


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Queries of one language as a perturbation left them; ``changed`` is the share it touched."""

    language: str
    perturbation: str
    queries: tuple[LabelledQuery, ...]
    changed: float


def robustness_table(
    known: QuerySet,
    contenders: Sequence[Contender],
    each: int,
    draws: int,
    say: Callable[[str], None],
) -> Table:
    """Accuracy and rejects under each perturbation, the same queries for every draw."""
    plain = asked_plainly(known)
    groups = [*rewritten(plain), *rewritten_in_two(plain)]
    groups.sort(key=lambda group: group.language)
    trials = [
        Trial(_examples(known, plain, each, draw), (), [q for g in groups for q in g.queries])
        for draw in range(draws)
    ]
    outcomes = {}
    for contender in contenders:
        say(f"{known.name}, perturbed: {contender.name}")
        outcomes[contender.name] = contender.examined(trials)
    return _table(known, groups, outcomes, each)


def asked_plainly(known: QuerySet) -> list[LabelledQuery]:
    """The in-scope queries to rewrite: of the test split, or else of at most half of the pairs."""
    rng = np.random.default_rng(_SEED)
    if known.has_strangers:
        test = [query for query in known.of_split("test") if query.adapter]
        rows = rng.permutation(len(test))[:MOST_ASKED]
        return [test[row] for row in sorted(rows)]
    pairs = sorted({query.pair for query in known.queries if query.pair and query.adapter})
    kept = set(rng.permutation(pairs)[: min(MOST_ASKED, len(pairs) // 2)].tolist())
    return [query for query in known.queries if query.pair in kept and query.adapter]


def rewritten(plain: Sequence[LabelledQuery]) -> Iterator[Rewritten]:
    """Each language under each perturbation that is for it."""
    for language in sorted({query.language for query in plain}):
        own = [query for query in plain if query.language == language]
        for perturbation in PERTURBATIONS:
            if perturbation.language in (None, language):
                texts = [perturbation.of(query.text, language, _SEED) for query in own]
                yield _rewritten(language, perturbation.name, own, texts)


def rewritten_in_two(plain: Sequence[LabelledQuery]) -> Iterator[Rewritten]:
    """Each language's queries with the second half of their translation."""
    by_language = {
        language: {q.pair: q for q in plain if q.pair and q.language == language}
        for language in sorted({query.language for query in plain})
    }
    for first, own in by_language.items():
        for second, others in by_language.items():
            both = [pair for pair in own if pair in others] if first != second else []
            if both:
                texts = [mixed(own[pair].text, others[pair].text) for pair in both]
                queries = [own[pair] for pair in both]
                yield _rewritten(first, _MIXED.format(second), queries, texts)


def _rewritten(
    language: str, name: str, queries: Sequence[LabelledQuery], texts: Sequence[str]
) -> Rewritten:
    changed = [query.text != text for query, text in zip(queries, texts, strict=True)]
    again = tuple(replace(q, text=text) for q, text in zip(queries, texts, strict=True))
    return Rewritten(language, name, again, mean(np.array(changed, bool)))


def _examples(
    known: QuerySet, plain: Sequence[LabelledQuery], each: int, draw: int
) -> dict[str, list[Example]]:
    """``each`` examples of every adapter, in the languages that are asked."""
    if known.has_strangers:
        return drawn_examples(known.of_split("train"), each, draw)
    asked = {query.pair for query in plain}
    rest = [query for query in known.queries if query.pair and query.pair not in asked]
    pairs = drawn_pairs(rest, each, draw)
    learnable = [query for query in rest if query.pair in pairs]
    return drawn_examples(apart(learnable, known.parallel_languages), None, draw)


def _table(
    known: QuerySet,
    groups: Sequence[Rewritten],
    outcomes: dict[str, list[Outcome]],
    each: int,
) -> Table:
    columns = [Column(f"{name}: {what}") for name in outcomes for what in ("accuracy", "rejected")]
    table = Table(
        f"{known.name}: robustness",
        f"{known.name}: queries rewritten, {each} examples of each adapter as they are",
        ("language", "queries"),
        (Column("changed"), *columns),
        (
            "Changed: the share of queries that the perturbation touches. Accuracy of the nearest "
            "adapter; rejected by the thresholds fitted on the examples.",
        ),
    )
    start = 0
    for group in groups:
        rows = slice(start, start + len(group.queries))
        start = rows.stop
        draws = zip(*outcomes.values(), strict=True)
        table.add(
            (group.language, group.perturbation),
            [_figures(group, dict(zip(outcomes, draw, strict=True)), rows) for draw in draws],
        )
    return table


def _figures(group: Rewritten, draw: dict[str, Outcome], rows: slice) -> dict[str, float]:
    figures = {"changed": 100 * group.changed}
    for name, outcome in draw.items():
        answers = outcome.asked.part(rows)
        figures[f"{name}: accuracy"] = 100 * mean(right(group.queries, answers.nearest))
        figures[f"{name}: rejected"] = 100 * mean(missing(answers.chosen))
    return figures
