"""Question noise: small changes of wording, so that an answer does not hang on one spelling."""

import random
from collections.abc import Sequence


def perturb(question: str, vocabulary: Sequence[str], rng: random.Random) -> str:
    """The question with one to three of its words replaced by others or dropped.

    A question of fewer than three words comes back as it is, as nothing would be left of it.
    """
    words = question.split(" ")
    if len(words) < 3:
        return question
    for _ in range(min(rng.randint(1, 3), len(words) - 2)):
        place = rng.randrange(len(words))
        if vocabulary and rng.random() < 0.5:
            words[place] = rng.choice(vocabulary)
        else:
            del words[place]
    return " ".join(words)


def vocabulary_of(questions: Sequence[str]) -> list[str]:
    """The distinct words of the questions, sorted."""
    return sorted({word for question in questions for word in question.split()})
