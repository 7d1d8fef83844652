"""Small sets of labelled queries, made up; the first word of a text is its topic."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TOPICS = ("law", "medicine", "music")
STRANGER = "cooking"

Row = Mapping[str, Any]


def scoped(each: int = 40) -> list[Row]:
    """Topics with three splits, and as many queries beside them in val and test."""
    rows: list[Row] = [
        {"text": f"{topic} question {split} {number}", "lang": "en", "domain": topic}
        | {"split": split}
        for topic in TOPICS
        for split in ("train", "val", "test")
        for number in range(each)
    ]
    strangers: list[Row] = [
        {"text": f"{STRANGER}{number} anything", "lang": "en", "domain": "oos", "split": split}
        for split in ("val", "test")
        for number in range(each)
    ]
    return rows + strangers


def parallel(each: int = 30) -> list[Row]:
    """Topics in German and English."""
    return [
        {"text": f"{topic} {word} {number}", "lang": language, "domain": topic}
        | {"pair": f"{topic}-{number}"}
        for topic in TOPICS
        for number in range(each)
        for language, word in (("de", "für schöne Füße"), ("en", "for pretty feet"))
    ]


def write(path: Path, rows: Iterable[Row]) -> Path:
    """A set's file."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path
