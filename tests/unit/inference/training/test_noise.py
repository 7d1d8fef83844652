import random

from hypothesis import given
from hypothesis import strategies as st

from inference.training.noise import perturb, vocabulary_of

words = st.lists(st.text("abcäß", min_size=1, max_size=6), min_size=3, max_size=12)


@given(words, st.integers())
def test_at_most_three_words_change_and_some_are_left(question: list[str], seed: int) -> None:
    changed = perturb(" ".join(question), ["novel"], random.Random(seed)).split(" ")
    assert 2 <= len(changed) <= len(question)
    assert len(question) - sum(word != "novel" for word in changed) <= 3


def test_a_question_of_two_words_is_left_alone() -> None:
    assert perturb("Was nun?", ["novel"], random.Random(0)) == "Was nun?"


def test_the_vocabulary_has_each_word_once_in_order() -> None:
    assert vocabulary_of(["b a", "a c"]) == ["a", "b", "c"]
