"""What the encoder's rate depends on: texts per pass, threads, precision."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks.figures import Figures
from benchmarks.queries import questions, trained
from schemas.records import Example
from streams.selection.encoder import Encoder, SentenceEncoder, load_encoder
from streams.selection.networks import TransformerNetwork
from streams.selection.selector import Selector

_PASS_SIZES = (16, 32, 64, 128)
_THREADS = (1, 2)
_BATCH = 128
_CALLS = 40


def measure(names: Sequence[str], figures: Figures) -> None:
    """Each encoder with every pass size and number of threads, and in bfloat16 where it can."""
    for name in names:
        encoder = load_encoder(name, threads=1)
        if not isinstance(encoder, SentenceEncoder):
            continue  # several joined: each has rates of its own
        _add_rates(name, encoder, figures)
        if not isinstance(encoder.network, TransformerNetwork):
            continue  # no PyTorch weights: it computes in a precision of its own
        before = _chosen(encoder)
        encoder.network.model.bfloat16()
        same = np.mean([one == other for one, other in zip(before, _chosen(encoder), strict=True)])
        figures.add(f"{name} in bfloat16", "decisions as in float32", float(same), "")
        _add_rates(f"{name} in bfloat16", encoder, figures)


def _add_rates(group: str, encoder: SentenceEncoder, figures: Figures) -> None:
    for threads in _THREADS:
        for size in _PASS_SIZES:
            tried = SentenceEncoder(encoder.name, encoder.network, threads, size)
            name = f"threads {threads}, pass {size}"
            figures.add(group, f"{name}: 1 text", _ms(tried, 1), "ms")
            figures.add(group, f"{name}: {_BATCH} texts", _ms(tried, _BATCH), "ms")


def _ms(encoder: Encoder, count: int) -> float:
    """The median time of a call with so many texts, other ones each time."""
    texts = cycle(question.text for question in questions())
    spent = []
    for _ in range(_CALLS):
        batch = [next(texts) for _ in range(count)]
        started = perf_counter()
        encoder.encode(batch)
        spent.append((perf_counter() - started) * 1000)
    return median(spent)


def _chosen(encoder: Encoder) -> list[str | None]:
    """The adapters of the demo's untrained queries, after learning its trained ones."""
    selector = Selector(encoder)
    examples = defaultdict(list)
    for question in trained():
        examples[question.adapter or ""].append(Example(question.text))
    selector.change({adapter: selector.study(own) for adapter, own in examples.items()})
    known = set(trained())
    asked = [question.text for question in questions() if question not in known]
    decided = selector.select(encoder.encode(asked), asked, [None] * len(asked))
    return [decision.adapter for decision in decided]
