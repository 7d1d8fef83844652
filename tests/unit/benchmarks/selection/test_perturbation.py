"""What is done to a query's text, and what is left alone."""

import unicodedata
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.selection.perturbation import (
    PERTURBATIONS,
    mixed,
    neighbours,
    transliterated,
    typos,
    with_preamble,
    with_trailer,
    without_punctuation,
)

languages = st.sampled_from(["de", "en", "fr"])
seeds = st.integers(0, 1_000)


@given(st.text(), languages, seeds)
def test_every_perturbation_gives_the_same_text_for_the_same_seed(
    text: str, language: str, seed: int
) -> None:
    for perturbation in PERTURBATIONS:
        once = perturbation.of(text, language, seed)
        assert once == perturbation.of(text, language, seed)


@given(st.text(), languages, st.integers(1, 4), seeds)
def test_a_typing_error_hits_a_neighbouring_key(
    text: str, language: str, edits: int, seed: int
) -> None:
    typed = typos(text, language, Random(seed), edits)
    near = neighbours(language)
    wrong = [(meant, hit) for meant, hit in zip(text, typed, strict=True) if meant != hit]
    assert len(wrong) == min(edits, sum(letter.lower() in near for letter in text))
    assert all(hit.lower() in near[meant.lower()] for meant, hit in wrong)


def test_keyboards_differ_by_language() -> None:
    assert set(neighbours("en")["a"]) == set("qwsz")
    assert set(neighbours("de")["a"]) == set("qwsy")
    assert "ü" in neighbours("de")["ö"]
    assert "ü" not in neighbours("en")


@given(languages)
def test_nearness_is_mutual(language: str) -> None:
    near = neighbours(language)
    assert all(letter in near[other] for letter, others in near.items() for other in others)


@given(st.text())
def test_no_punctuation_is_left(text: str) -> None:
    bare = without_punctuation(text)
    assert not any(unicodedata.category(character).startswith("P") for character in bare)
    assert without_punctuation(bare) == bare


@given(st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_words_without_punctuation_stay(text: str) -> None:
    assert without_punctuation(f"  {text}?! ") == text


def test_dashes_part_words_and_apostrophes_do_not() -> None:
    assert without_punctuation("What's the U-Bahn/bus fare – today?") == (
        "Whats the U Bahn bus fare today"
    )


@given(st.text("aäöüßÄÖÜẞzAZ \u0308"))
def test_no_umlaut_is_left(text: str) -> None:
    plain = transliterated(text)
    assert not set(plain) & set("äöüßÄÖÜẞ")


def test_umlauts_are_written_out() -> None:
    assert transliterated("Größe und Übung a\u0308ndern") == "Groesse und Uebung aendern"


@given(st.lists(st.text("ab", min_size=1)), st.lists(st.text("yz", min_size=1)))
def test_two_languages_mixed_are_the_beginning_of_one_and_the_end_of_the_other(
    first: list[str], second: list[str]
) -> None:
    words = mixed(" ".join(first), " ".join(second)).split()
    beginning = [word for word in words if word in first]
    end = words[len(beginning) :]
    assert beginning == first[: len(beginning)]
    assert end == second[len(second) - len(end) :]
    assert 2 * len(beginning) in (len(first), len(first) + 1)
    assert 2 * len(end) in (len(second), len(second) + 1)


@given(st.text(), languages, seeds)
def test_a_sentence_before_or_after_leaves_the_query_whole(
    text: str, language: str, seed: int
) -> None:
    assert with_preamble(text, language, Random(seed)).endswith(f" {text}")
    assert with_trailer(text, language, Random(seed)).startswith(text)


@pytest.mark.parametrize(("text", "begins"), [("Why?", "Why? "), ("why", "why. ")])
def test_a_sentence_after_a_query_is_a_sentence_of_its_own(text: str, begins: str) -> None:
    longer = with_trailer(text, "en", Random(1))
    assert longer.startswith(begins)
    assert len(longer.split()) > len(text.split()) + 2


def test_what_is_added_is_in_the_language_of_the_query() -> None:
    for add in (with_preamble, with_trailer):
        german, english, french = (
            {add("", language, Random(seed)) for seed in range(50)}
            for language in ("de", "en", "fr")
        )
        assert len(german) > 1
        assert not german & english
        assert french == english
