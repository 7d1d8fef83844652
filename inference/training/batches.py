"""Token sequences into batches: padded to their longest, and cut by a token budget."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence: `prompt` is read, `answer` (its end token included) is learned."""

    prompt: Sequence[int]
    answer: Sequence[int]
    weight: float = 1.0

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.answer)


def length_buckets(
    samples: Sequence[Sample], tokens: int, rng: random.Random
) -> list[list[Sample]]:
    """Every sample once, in batches of at most `tokens` token places, padding included.

    Samples of like length share a batch; which of them, and the batches' order, is `rng`'s. A
    sample longer than `tokens` is a batch of its own.
    """
    order = sorted(rng.sample(list(samples), len(samples)), key=lambda sample: sample.length)
    batches: list[list[Sample]] = []
    for sample in order:
        # The samples come in ascending length, so the new one sets the width of the batch.
        if batches and sample.length * (len(batches[-1]) + 1) <= tokens:
            batches[-1].append(sample)
        else:
            batches.append([sample])
    rng.shuffle(batches)
    return batches


def endless(
    epoch: Callable[[random.Random], Sequence[Sample]], tokens: int, seed: int
) -> Iterator[list[Sample]]:
    """Batches of one epoch after another; `epoch` gives the samples of the next one."""
    rng = random.Random(seed)
    while True:
        yield from length_buckets(epoch(rng), tokens, rng)
