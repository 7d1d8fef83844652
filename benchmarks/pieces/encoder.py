"""The encoder alone, and with selection behind it, in batches as the router has them."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.cpu_time import cpu_ms
from benchmarks.queries import texts
from streams.registry.candidate import read_candidate
from streams.selection.encoder import load_encoder
from streams.selection.selector import Selector


def main(
    encoder: str, threads: int, batch: int, count: int, seconds: float, adapters: list[str]
) -> dict[str, Any]:
    """Texts a second and CPU milliseconds a text; ``count`` different batches over and over."""
    model = load_encoder(encoder, threads=threads)
    selector = Selector(model)
    candidates = [read_candidate(Path(folder), datetime.now(UTC)) for folder in adapters]
    selector.change(
        {one.version.key: selector.study(one.examples, one.version.languages) for one in candidates}
    )
    queries = texts(batch * count)
    batches = [queries[start : start + batch] for start in range(0, len(queries), batch)]

    def encode(part: list[str]) -> None:
        model.encode(part)

    def select(part: list[str]) -> None:
        selector.select(model.encode(part), part, [None] * len(part))

    found: dict[str, Any] = {}
    for name, work in (("encode", encode), ("select", select)):
        work(batches[0])
        done, before, began = 0, cpu_ms(os.getpid()), perf_counter()
        while (spent := perf_counter() - began) < seconds:
            part = batches[done // batch % len(batches)]
            work(part)
            done += len(part)
        found[name] = {
            "rate": done / spent,
            "cpu_ms": (cpu_ms(os.getpid()) - before) / done,
        }
    return found


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
