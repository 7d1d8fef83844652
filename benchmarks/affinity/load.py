"""Which adapters are asked for: few of them often, most seldom. Seeded."""

import random
from collections.abc import Sequence


def adapter_ids(count: int) -> list[str]:
    """Ids as the registry takes them."""
    return [f"field{number}-qa-v1" for number in range(count)]


def keys(count: int) -> list[str]:
    """Of their only versions."""
    return [f"{adapter_id}@1.0.0" for adapter_id in adapter_ids(count)]


def arrivals(adapters: int, requests: int, seed: int) -> Sequence[str]:
    """The adapter of each request: the n-th is asked for 1/n as often as the first (Zipf).

    Which adapter is the n-th is chance, too.
    """
    rng = random.Random(seed)
    ranked = keys(adapters)
    rng.shuffle(ranked)
    return rng.choices(ranked, [1 / rank for rank in range(1, adapters + 1)], k=requests)
