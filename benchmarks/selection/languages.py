"""Examples in one language, queries in another; and examples in several at once."""

from collections.abc import Callable, Iterator, Sequence

from benchmarks.selection.draws import apart, drawn_examples, drawn_pairs, translated
from benchmarks.selection.measures import mean
from benchmarks.selection.queries import QuerySet
from benchmarks.selection.tables import Column, Table
from benchmarks.selection.trial import Answers, Contender, Trial, missing, right


def language_table(
    known: QuerySet,
    contenders: Sequence[Contender],
    each: int,
    draws: int,
    say: Callable[[str], None],
) -> Table:
    """Each choice of examples against each language of queries."""
    table = Table(
        f"{known.name}: languages",
        f"{known.name}: {each} examples of each adapter in some languages, queries in another",
        ("examples -> queries", "router"),
        (Column("accuracy"), Column("right adapter"), Column("rejected")),
        (
            "An adapter lists the languages of its examples and no other. Of several languages "
            "together, each has its share; translated: they say the same.",
            "No translation of an example is asked. Rejected by the thresholds fitted on the "
            "examples; semantic-router has none without queries to fit them on.",
        ),
    )
    by_draw = [dict(language_trials(known, each, draw)) for draw in range(draws)]
    for learnt in by_draw[0]:
        trials = [by_name[learnt] for by_name in by_draw]
        found = {}
        for contender in contenders:
            say(f"{known.name}, {learnt} examples: {contender.name}")
            found[contender.name] = contender.examined(trials)
        for spoken in known.parallel_languages:
            for name, outcomes in found.items():
                draw_pairs = zip(trials, outcomes, strict=True)
                figures = [_figures(trial, outcome.asked, spoken) for trial, outcome in draw_pairs]
                table.add((f"{learnt} -> {spoken}", name), figures)
    return table


def language_trials(known: QuerySet, each: int, draw: int) -> Iterator[tuple[str, Trial]]:
    """By the languages of the examples: each alone, all of them, all and translated.

    Asked are all languages' queries of pairs that gave no example, the same ones in all trials.
    """
    languages = known.parallel_languages
    paired = [query for query in known.queries if query.pair and query.adapter]
    pairs = drawn_pairs(paired, each, draw)
    learnable = [query for query in paired if query.pair in pairs]
    asked = [query for query in paired if query.pair not in pairs]
    together = "+".join(languages)
    learnt = {
        **{one: [query for query in learnable if query.language == one] for one in languages},
        together: apart(learnable, languages),
        f"{together} translated": translated(learnable, len(languages)),
    }
    for name, queries in learnt.items():
        yield name, Trial(drawn_examples(queries, None, draw), (), asked)


def _figures(trial: Trial, answers: Answers, spoken: str) -> dict[str, float]:
    rows = [row for row, query in enumerate(trial.asked) if query.language == spoken]
    return {
        "accuracy": 100 * mean(right(trial.asked, answers.nearest)[rows]),
        "right adapter": 100 * mean(right(trial.asked, answers.chosen)[rows]),
        "rejected": 100 * mean(missing(answers.chosen)[rows]),
    }
