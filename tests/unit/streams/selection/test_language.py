"""Telling languages apart."""

import pytest

from streams.selection.language import LanguageDetector, primary_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Wie lange dauert die Probezeit?", "de"),
        ("WIE LANGE DAUERT DIE PROBEZEIT?", "de"),
        ("Wie lange ist die Kuendigungsfrist fuer Mieter?", "de"),
        ("How long is the probation period?", "en"),
        ("Combien de temps dure la période d'essai ?", "fr"),
    ],
)
def test_a_sentence_shows_its_language(text: str, language: str) -> None:
    assert LanguageDetector().detect([text]) == [language]


@pytest.mark.parametrize("text", ["", "  \n", "42", "OK", "😀", "\x00\x01", "\ud800"])
def test_what_has_no_language_is_given_none(text: str) -> None:
    assert LanguageDetector().detect([text]) == [None]


def test_each_text_gets_its_answer_in_order() -> None:
    texts = ["Was ist ein Mietvertrag?", "7", "What is a tenancy agreement?"]
    assert LanguageDetector().detect(texts) == ["de", None, "en"]


def test_languages_beyond_the_common_ones_are_told_when_adapters_need_them() -> None:
    text = "Jak dlouho trvá zkušební doba v novém zaměstnání?"
    assert LanguageDetector(["cs"]).detect([text]) == ["cs"]


def test_codes_that_no_one_knows_do_no_harm() -> None:
    assert "tlh" not in LanguageDetector(["tlh", "de"]).languages


@pytest.mark.parametrize(
    ("tag", "language"),
    [("de", "de"), ("de-AT", "de"), ("DE", "de"), ("de_CH.UTF-8", "de"), ("", None), (None, None)],
)
def test_a_tag_is_reduced_to_its_language(tag: str | None, language: str | None) -> None:
    assert primary_language(tag) == language
