"""Real adapters, more than a hundred: the intents of CLINC150."""

import json
from collections import defaultdict
from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.selection_scale.growth import Asked, add_comparison
from schemas.records import Example
from streams.selection.encoder import Encoder
from streams.selection.selector import Selector


def measure(encoder: Encoder, path: Path, figures: Figures) -> None:
    """Each intent as an adapter; asked are the test queries, also those out of scope."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    examples = defaultdict(list)
    for row in rows:
        if row["split"] == "train" and row["domain"] != "oos":
            examples[row["intent"]].append(Example(row["text"], row["lang"]))
    selector = Selector(encoder, exact_up_to=0)
    selector.change({intent: selector.study(own) for intent, own in examples.items()})
    texts = [row["text"] for row in rows if row["split"] == "test"]
    asked = Asked(texts, encoder.encode(texts))
    add_comparison(f"CLINC150, {len(examples)} intents", selector, asked, figures, {})
