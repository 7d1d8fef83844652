"""What selection learns from: reading a file of examples, and cutting it to records' size. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from schemas.codec import read_value
from schemas.errors import InvalidField, RegistrationRefused
from schemas.records import AdapterVersion, Example, ExampleSet

MAX_PART_BYTES: Final = 256 * 1024
"""Most bytes of text in one ExampleSet."""

_OVERHEAD_BYTES: Final = 16  # an example's lengths, language and mark, generously


def read_examples(lines: Iterable[str]) -> list[Example]:
    """The examples of a JSON lines file, each text once.

    A line is an Example, ``{"text": ..., "language": "de", "held_out": false}``, or a row of
    training data: ``instruction`` and ``input``, or ``messages``, of which the last one of the
    user counts; its language may stand in ``metadata``. Raises RegistrationRefused, naming the
    line.
    """
    found: dict[str, Example] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            example = _read_line(line, number)
            found.setdefault(example.text, example)
    return list(found.values())


def split(version: AdapterVersion, examples: Sequence[Example]) -> list[ExampleSet]:
    """The examples in as many parts as it takes to keep each below MAX_PART_BYTES."""
    parts = list(_chunks(examples))
    return [
        ExampleSet(version.adapter_id, version.adapter_version, number, len(parts), tuple(part))
        for number, part in enumerate(parts)
    ]


def record_key(part: ExampleSet) -> str:
    """The part's key on the examples topic, ``id@version#part``."""
    return f"{part.key}#{part.part}"


def _chunks(examples: Sequence[Example]) -> Iterator[list[Example]]:
    part: list[Example] = []
    size = 0
    for example in examples:
        bytes_of_it = len(example.text.encode()) + _OVERHEAD_BYTES
        if part and size + bytes_of_it > MAX_PART_BYTES:
            yield part
            part, size = [], 0
        part.append(example)
        size += bytes_of_it
    if part:
        yield part


def _read_line(line: str, number: int) -> Example:
    try:
        row = orjson.loads(line)
    except ValueError as error:
        raise RegistrationRefused(f"Line {number} of the examples is not JSON: {error}.") from error
    if not isinstance(row, dict):
        raise RegistrationRefused(f"Line {number} of the examples is no JSON object.")
    metadata = row.get("metadata")
    language = row.get("language") or (
        metadata.get("language") if isinstance(metadata, Mapping) else None
    )
    held_out = row.get("held_out") or False
    shape = {"text": _text_of(row), "language": language, "held_out": held_out}
    try:
        (example,) = read_value(
            ExampleSet, {"adapter_id": "", "adapter_version": "", "examples": [shape]}
        ).examples
    except InvalidField as error:
        raise RegistrationRefused(f"Line {number} of the examples: {error}.") from error
    if not example.text.strip():
        raise RegistrationRefused(f"Line {number} of the examples has an empty text.")
    if len(example.text.encode()) > MAX_PART_BYTES:
        raise RegistrationRefused(f"Line {number} of the examples is longer than 256 KB.")
    return example


def _text_of(row: Mapping[str, Any]) -> Any:
    if "text" in row:
        return row["text"]
    if "instruction" in row:
        given = row.get("input") or ""
        return f"{row['instruction']}\n{given}" if given else row["instruction"]
    messages = row.get("messages")
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return message.get("content")
    return None
