"""How fast an encoder is."""

import time
from collections.abc import Callable, Iterable, Sequence

from benchmarks.selection.tables import Column, Table
from streams.selection.encoder import Encoder

_BATCH = 128
_BATCH_COLUMN = f"batches of {_BATCH}"


def rate_table(
    encoders: Sequence[Encoder],
    texts: Sequence[str],
    rounds: int,
    at_least: float,
    threads: int,
    say: Callable[[str], None],
) -> Table:
    """Texts a second, one by one and in batches, of each encoder.

    A round goes over the texts for ``at_least`` seconds.
    """
    table = Table(
        "encoders",
        f"Encoders on {threads} threads",
        ("encoder",),
        (Column("one by one", "texts/s"), Column(_BATCH_COLUMN, "texts/s")),
        (f"{min(_BATCH, len(texts))} different texts, the same for all; rounds: {rounds}.",),
    )
    for encoder in encoders:
        say(f"rates: {encoder.name}")
        table.add(
            (encoder.name,), [_rates(encoder, texts[:_BATCH], at_least) for _ in range(rounds)]
        )
    return table


def _rates(encoder: Encoder, texts: Sequence[str], at_least: float) -> dict[str, float]:
    singly = _seconds(lambda: _each(encoder, texts), at_least)
    together = _seconds(lambda: encoder.encode(texts), at_least)
    return {"one by one": len(texts) / singly, _BATCH_COLUMN: len(texts) / together}


def _each(encoder: Encoder, texts: Iterable[str]) -> None:
    for text in texts:
        encoder.encode([text])


def _seconds(call: Callable[[], object], at_least: float) -> float:
    """The mean duration of a call, repeated for ``at_least`` seconds."""
    call()
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < at_least:
        call()
        calls += 1
    return (time.perf_counter() - began) / calls
