"""Puts semantic-router to trials; runs in its environment, as `peer_process.py FOLDER`.

FOLDER holds request.json and vectors.npy, (texts, dimensions), as peer.py writes them, and is
given answers.json. What is done is what semantic-router's own README does: routes of utterances,
`fit` on labelled queries where there are any (None for those of no route), then a confidence of
at least 0.5. All else is left at its defaults.
"""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from semantic_router import IndexedRouter, Route
from semantic_router.encoders import DenseEncoder

_CONFIDENCE = 0.5


class KnownVectors(DenseEncoder):
    """An encoder that looks each text's vector up."""

    vectors: dict[str, Any]

    def __call__(self, docs: list[str]) -> list[Any]:
        """Rows of float32: half of what lists of floats would have its index read."""
        return [self.vectors[text] for text in docs]


def answers(router: IndexedRouter, texts: Iterable[str]) -> dict[str, list[Any]]:
    """The best route and its confidence for each text, asked one at a time as its API has it."""
    choices = [router(text) for text in texts]
    confidences = [choice.confidence for choice in choices]
    is_sure = [not router.calibrated or score >= _CONFIDENCE for score in confidences]
    return {
        "nearest": [choice.name for choice in choices],
        "chosen": [c.name if sure else None for c, sure in zip(choices, is_sure, strict=True)],
        "scores": confidences,
        "probabilities": confidences if router.calibrated else [float("nan")] * len(choices),
    }


def examined(encoder: KnownVectors, texts: list[str], trial: dict[str, Any]) -> dict[str, Any]:
    """The answers of a router that learnt a trial's examples, and the seconds a query took."""
    routes = [
        Route(name=adapter, utterances=[texts[number] for number in numbers])
        for adapter, numbers in trial["examples"].items()
    ]
    router = IndexedRouter(encoder=encoder, routes=routes)
    fitting, asked = ([texts[n] for n in trial[kind]] for kind in ("fitting", "asked"))
    if fitting:
        router.fit(fitting, trial["labels"])
    fitted = answers(router, fitting)
    began = time.perf_counter()
    found = answers(router, asked)
    seconds = (time.perf_counter() - began) / len(asked)
    return {"fitting": fitted, "asked": found, "seconds": seconds}


def main(folder: Path) -> None:
    """Takes every trial of the request."""
    request = json.loads((folder / "request.json").read_text("utf-8"))
    texts, vectors = request["texts"], np.load(folder / "vectors.npy")
    encoder = KnownVectors(name="known", vectors=dict(zip(texts, vectors, strict=True)))
    found = [examined(encoder, texts, trial) for trial in request["trials"]]
    (folder / "answers.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
