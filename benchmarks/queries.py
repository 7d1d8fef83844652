"""The queries that all benchmarks send: the demo's questions, German and English, shuffled."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "examples" / "data"
ADAPTERS = ("legal-qa-v1", "medical-diagnosis-v1", "environmental-law-v1")


@dataclass(frozen=True, slots=True)
class Question:
    """``adapter`` is the id that was trained for it; None where that is the base model."""

    text: str
    adapter: str | None


@cache
def questions() -> tuple[Question, ...]:
    """About 490 different ones: trained, reworded, and some that belong to no adapter."""
    found = [*trained(), *_texts("reworded.jsonl"), *_texts("none.jsonl")]
    random.Random(1).shuffle(found)
    return tuple(found)


@cache
def trained() -> tuple[Question, ...]:
    """Those whose answers the adapters have learnt."""
    found = [
        Question(row["instruction"], adapter)
        for adapter in ADAPTERS
        for row in _rows(f"{adapter.removesuffix('-v1')}.jsonl")
    ]
    random.Random(1).shuffle(found)
    return tuple(found)


def texts(count: int) -> list[str]:
    """``count`` questions, over and over."""
    known = questions()
    return [known[number % len(known)].text for number in range(count)]


def different(count: int) -> list[Question]:
    """``count`` questions of which no two are the same: numbered."""
    known = questions()
    return [
        replace(known[number % len(known)], text=f"{known[number % len(known)].text} ({number})")
        for number in range(count)
    ]


def query(query_id: str, question: Question, max_tokens: int | None = None) -> bytes:
    """A plain JSON query, as a client writes it; greedy where ``max_tokens`` is given."""
    fields: dict[str, Any] = {"id": query_id, "prompt": question.text}
    if max_tokens is not None:
        fields["sampling"] = {"max_tokens": max_tokens, "temperature": 0}
    return json.dumps(fields, ensure_ascii=False).encode()


def _texts(name: str) -> Sequence[Question]:
    return [Question(row["text"], row.get("adapter")) for row in _rows(name)]


def _rows(name: str) -> list[dict[str, Any]]:
    lines = (DATA / name).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]
