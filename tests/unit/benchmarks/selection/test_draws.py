"""Which examples are drawn, and what is kept apart."""

from pathlib import Path

import pytest

from benchmarks.selection.draws import drawn_examples, drawn_pairs
from benchmarks.selection.languages import language_trials
from benchmarks.selection.queries import QuerySet, load_set
from benchmarks.selection.robustness import asked_plainly, rewritten, rewritten_in_two
from benchmarks.selection.scope import scope_trial
from tests.unit.benchmarks.selection.sets import TOPICS, parallel, scoped, write


@pytest.fixture
def topics(tmp_path: Path) -> QuerySet:
    return load_set(write(tmp_path / "topics.jsonl", scoped()))


@pytest.fixture
def pairs(tmp_path: Path) -> QuerySet:
    return load_set(write(tmp_path / "pairs.jsonl", parallel()))


def test_each_adapter_gets_its_own_examples(topics: QuerySet) -> None:
    examples = drawn_examples(topics.of_split("train"), 7, 0)
    assert sorted(examples) == sorted(TOPICS)
    for topic, own in examples.items():
        assert len({example.text for example in own}) == 7
        assert all(example.text.startswith(f"{topic} question train") for example in own)


def test_a_draw_is_repeatable_and_another_one_differs(topics: QuerySet) -> None:
    train = topics.of_split("train")
    assert drawn_examples(train, 7, 1) == drawn_examples(train, 7, 1)
    assert drawn_examples(train, 7, 1) != drawn_examples(train, 7, 2)


def test_all_examples_are_all_there_are(topics: QuerySet) -> None:
    assert {len(own) for own in drawn_examples(topics.of_split("train"), None, 0).values()} == {40}


def test_thresholds_see_val_and_questions_are_tests(topics: QuerySet) -> None:
    trial = scope_trial(topics, 5, 0)
    assert {query.split for query in trial.fitting} == {"val"}
    assert {query.split for query in trial.asked} == {"test"}


def test_at_most_half_of_the_pairs_are_learnt(pairs: QuerySet) -> None:
    assert len(drawn_pairs(pairs.queries, 5, 0)) == 5 * len(TOPICS)
    assert len(drawn_pairs(pairs.queries, 1_000, 0)) == 15 * len(TOPICS)


def test_no_translation_of_an_example_is_asked(pairs: QuerySet) -> None:
    pair_of = {query.text: query.pair for query in pairs.queries}
    trials = dict(language_trials(pairs, 10, 0))
    assert list(trials) == ["de", "en", "de+en", "de+en translated"]
    for name, trial in trials.items():
        learnt = [example for own in trial.examples.values() for example in own]
        learnt_pairs = [pair_of[example.text] for example in learnt]
        assert {len(own) for own in trial.examples.values()} == {10}
        assert "+".join(sorted({str(e.language) for e in learnt})) == name.removesuffix(
            " translated"
        )
        assert len(set(learnt_pairs)) == len(learnt) / (2 if "translated" in name else 1)
        assert {query.language for query in trial.asked} == {"de", "en"}
        assert not set(learnt_pairs) & {query.pair for query in trial.asked}
        assert trial.asked == trials["de"].asked
        assert trial.fitting == ()


def test_queries_are_rewritten_under_their_own_label(pairs: QuerySet) -> None:
    plain = asked_plainly(pairs)
    groups = {(g.language, g.perturbation): g for g in rewritten(plain)}
    unchanged, capitals = groups["de", "none"], groups["de", "all capitals"]
    assert (unchanged.changed, capitals.changed) == (0, 1)
    assert [query.text for query in unchanged.queries] == [
        query.text for query in plain if query.language == "de"
    ]
    assert [query.adapter for query in capitals.queries] == [
        query.adapter for query in unchanged.queries
    ]
    assert "Fuesse" in groups["de", "ae, oe, ue, ss"].queries[0].text
    assert ("en", "ae, oe, ue, ss") not in groups


def test_half_of_a_query_is_its_translation(pairs: QuerySet) -> None:
    groups = {(g.language, g.perturbation): g for g in rewritten_in_two(asked_plainly(pairs))}
    assert set(groups) == {("de", "second half in en"), ("en", "second half in de")}
    text = groups["de", "second half in en"].queries[0].text
    assert "für" in text
    assert "feet" in text
