"""The demo's data: what training, selection and the demo rely on."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "examples" / "data"
DOMAINS = {
    "legal-qa": "legal",
    "medical-diagnosis": "medical",
    "environmental-law": "environmental",
}
FAMILIES = tuple(DOMAINS)
LANGUAGES = ("de", "en")
FUNCTION_WORDS = (
    "der die das dem den des ein eine einen einem eines einer und ist sind wird werden was wie wer "
    "wo wann welche welcher welches welchen welchem mit auf nach an am im in bei für von vom zu "
    "zum man sich über als aus unter es the a an of on for are what which how who when where do "
    "does did to by with and be must may is it from at"
)


def rows_of(name: str) -> list[dict[str, Any]]:
    lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def training_rows() -> list[dict[str, Any]]:
    return [row for family in FAMILIES for row in rows_of(family)]


def content_words(text: str) -> frozenset[str]:
    words = (word.strip("?.,!") for word in text.lower().split())
    return frozenset(words).difference(FUNCTION_WORDS.split())


def repeated(values: list[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_domain_has_at_least_sixty_pairs_in_each_language(family: str, language: str) -> None:
    assert sum(row["metadata"]["language"] == language for row in rows_of(family)) >= 60


@pytest.mark.parametrize("family", FAMILIES)
def test_training_rows_have_the_fields_that_themisdb_exports(family: str) -> None:
    for row in rows_of(family):
        assert list(row) == ["instruction", "input", "output", "weight", "metadata"]
        assert list(row["metadata"]) == ["id", "language", "domain"]
        assert row["input"] == ""
        assert 0.5 <= row["weight"] <= 1.5
        assert row["metadata"]["domain"] == DOMAINS[family]
        assert row["metadata"]["id"].startswith(
            f"{row['metadata']['domain']}-{row['metadata']['language']}-"
        )


def test_no_question_answer_or_id_occurs_twice_in_any_domain() -> None:
    rows = training_rows()

    assert repeated([row["instruction"].lower() for row in rows]) == []
    assert repeated([row["output"].lower() for row in rows]) == []
    assert repeated([row["metadata"]["id"] for row in rows]) == []


def test_questions_differ_by_more_than_function_words() -> None:
    questions = [row["instruction"] for row in training_rows()]

    assert len({content_words(question) for question in questions}) == len(questions)


def test_questions_and_answers_are_short_enough_for_a_tiny_model() -> None:
    rows = training_rows()
    questions = [row["instruction"] for row in rows]
    answers = [row["output"] for row in rows]

    assert [text for text in questions if not 5 <= len(text.split()) <= 14] == []
    assert [text for text in answers if not 6 <= len(text.split()) <= 16] == []
    assert all(text.endswith("?") for text in questions)
    assert all(text.endswith(".") for text in answers)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_domain_has_at_least_eight_rewordings_in_each_language(
    family: str, language: str
) -> None:
    reworded = [row for row in rows_of("reworded") if row["adapter"] == f"{family}-v1"]

    assert sum(row["language"] == language for row in reworded) >= 8


def test_each_rewording_points_to_a_trained_question_of_its_adapter_and_language() -> None:
    trained = {row["metadata"]["id"]: row for row in training_rows()}

    for row in rows_of("reworded"):
        original = trained[row["of"]]
        assert DOMAINS[row["adapter"].removesuffix("-v1")] == original["metadata"]["domain"]
        assert row["language"] == original["metadata"]["language"]
        assert content_words(row["text"]) != content_words(original["instruction"])


@pytest.mark.parametrize(
    ("name", "at_least"), [("none", 40), ("general", 240), ("refusals", 24), ("reworded", 48)]
)
def test_sentence_files_have_enough_distinct_texts_in_both_languages(
    name: str, at_least: int
) -> None:
    rows = rows_of(name)
    languages = Counter(row["language"] for row in rows)

    assert len(rows) >= at_least
    assert repeated([row["text"] for row in rows]) == []
    assert set(languages) == set(LANGUAGES)
    assert languages["de"] == languages["en"]


def test_general_sentences_have_eight_to_sixteen_words() -> None:
    texts = [row["text"] for row in rows_of("general")]

    assert [text for text in texts if not 8 <= len(text.split()) <= 16] == []


def test_nothing_outside_the_training_files_repeats_a_question_or_an_answer() -> None:
    trained = {row["instruction"] for row in training_rows()}
    trained |= {row["output"] for row in training_rows()}

    for name in ("reworded", "none", "general", "refusals"):
        assert trained.isdisjoint(row["text"] for row in rows_of(name))


@pytest.mark.parametrize(
    ("family", "rank"), [("legal-qa", 8), ("medical-diagnosis", 16), ("environmental-law", 8)]
)
def test_metadata_describes_the_adapter_and_its_training_file(family: str, rank: int) -> None:
    path = DATA / "metadata" / f"{family}-v1.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    task, training = metadata["task"], metadata["training"]

    assert metadata["adapter_id"] == f"{task['domain']}-{task['type']}-v1" == path.stem
    assert metadata["base_model"] == {"name": "lorelay-demo-base", "version": "1.0.0"}
    assert task["language"] == list(LANGUAGES)
    assert training["num_samples"] == len(rows_of(family))
    assert (training["lora_rank"], training["lora_alpha"]) == (rank, 2 * rank)
    assert rank <= metadata["vllm"]["max_lora_rank"]
