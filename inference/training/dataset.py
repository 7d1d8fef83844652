"""Training rows from JSONL, in the three shapes that ThemisDB's exporter writes.

- instruction: ``{"instruction", "input", "output", "weight", "metadata"}``
- chat: ``{"messages": [{"role", "content"}, ...]}``, the last message being the answer
- text: ``{"text"}``, all of it learned, with no question before it
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from schemas.errors import ConfigurationError
from schemas.records import Message

ROLES = ("system", "user", "assistant", "tool")


class TrainingDataError(ConfigurationError):
    """A row that cannot be trained on; the message names its file and line."""


class _BadRow(Exception):
    """What is wrong with one row, before its file and line are known."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One question and its answer.

    `messages` is the prompt, in order and without the answer; it is empty for a plain text.
    `weight` weighs the row's loss; `language` is an ISO 639-1 code, or None where the row has none.
    """

    messages: tuple[Message, ...]
    answer: str
    weight: float = 1.0
    language: str | None = None

    @property
    def question(self) -> str:
        """What the user asked last: the text that adapter selection learns from."""
        asked = [message.content for message in self.messages if message.role == "user"]
        return asked[-1] if asked else self.answer


def read_rows(path: Path) -> list[TrainingRow]:
    """The rows of a JSONL file, in its order; blank lines are passed over.

    Raises TrainingDataError for a file that cannot be read, a row of no known shape, a question
    or answer that is missing or blank, a weight that is no number from 0 up, and an empty file.
    """
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            rows.append(_row(_object(line)))
        except _BadRow as problem:
            raise TrainingDataError(f"{path}, line {number}: {problem}") from None
    if not rows:
        raise TrainingDataError(f"{path} has no rows; write one JSON object per line.")
    return rows


def split_held_out(
    rows: Sequence[TrainingRow], fraction: float
) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """(rows to train on, rows held out for calibration), each in the given order.

    A row's side follows from a hash of its question alone: it never changes when rows are added,
    removed or sorted, and a question that occurs twice stays on one side.

    Raises TrainingDataError where all are held out, which a few rows may be.
    """
    if not 0.0 <= fraction < 1.0:
        raise TrainingDataError(f"The held-out fraction must be from 0 to below 1, not {fraction}.")
    trained: list[TrainingRow] = []
    held_out: list[TrainingRow] = []
    for row in rows:
        (held_out if _position(row.question) < fraction else trained).append(row)
    if held_out and not trained:
        raise TrainingDataError(
            "Every row falls into the held-out part, so there is none to train on; add rows, or "
            "train all with --held-out-fraction 0."
        )
    return trained, held_out


def relative_weights(rows: Iterable[TrainingRow]) -> list[float]:
    """Each row's weight over the mean weight, so that their scale does not change training.

    Raises TrainingDataError where there are no rows or every weight is zero.
    """
    weights = [row.weight for row in rows]
    if not weights:
        raise TrainingDataError("There are no rows to train on; give at least one.")
    mean = sum(weights) / len(weights)
    if mean == 0.0:
        raise TrainingDataError("Every row has weight 0; give at least one a weight above 0.")
    return [weight / mean for weight in weights]


def _position(question: str) -> float:
    """A number in [0, 1), evenly spread over questions."""
    digest = hashlib.sha256(question.strip().encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _lines(path: Path) -> list[str]:
    try:
        # Not str.splitlines: it also cuts at U+2028 and the like, which JSON strings may hold.
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise TrainingDataError(f"There is no training file {path}.") from None
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{path} is not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be read: {error.strerror}.") from None


def _object(line: str) -> Mapping[str, object]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _BadRow(f"this is not JSON ({error.msg}, column {error.colno}).") from None
    if not isinstance(row, dict):
        raise _BadRow(f"a row must be a JSON object, not {_kind(row)}.")
    return row


def _row(row: Mapping[str, object]) -> TrainingRow:
    if "messages" in row:
        messages, answer = _chat(row["messages"])
    elif "instruction" in row:
        messages, answer = _instruction(row)
    elif "text" in row:
        messages, answer = (), _text(row, "text")
    else:
        raise _BadRow('a row needs "instruction" and "output", or "messages", or "text".')
    return TrainingRow(messages, answer, _weight(row), _language(row))


def _instruction(row: Mapping[str, object]) -> tuple[tuple[Message, ...], str]:
    question, context = _text(row, "instruction"), row.get("input") or ""
    if not isinstance(context, str):
        raise _BadRow(f'"input" must be a string, not {_kind(context)}.')
    if context.strip():
        question = f"{question}\n\n{context.strip()}"
    return (Message(role="user", content=question),), _text(row, "output")


def _chat(turns: object) -> tuple[tuple[Message, ...], str]:
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise _BadRow('"messages" must be a list of {"role", "content"} objects.')
    messages = tuple(Message(role=_role(turn), content=_text(turn, "content")) for turn in turns)
    if not messages or messages[-1].role != "assistant":
        raise _BadRow('"messages" must end with the answer, a message of the role "assistant".')
    if not any(message.role == "user" for message in messages):
        raise _BadRow('"messages" must have a message of the role "user".')
    return messages[:-1], messages[-1].content


def _role(turn: Mapping[str, object]) -> str:
    role = turn.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise _BadRow(f'"role" must be one of {", ".join(ROLES)}, not {role!r}.')
    return role


def _text(row: Mapping[str, object], field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise _BadRow(f'"{field}" must be a string that is not blank.')
    return value.strip()


def _weight(row: Mapping[str, object]) -> float:
    weight = row.get("weight", 1.0)
    if weight is None:
        return 1.0
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < 1e9:
        raise _BadRow(f'"weight" must be a number from 0 up, not {weight!r}.')
    return float(weight)


def _language(row: Mapping[str, object]) -> str | None:
    metadata = row.get("metadata")
    language = row.get("language")
    if language is None and isinstance(metadata, dict):
        language = metadata.get("language")
    if language is not None and not isinstance(language, str):
        raise _BadRow(f'"language" must be a string such as "de", not {_kind(language)}.')
    return language or None


def _kind(value: object) -> str:
    return {list: "a list", dict: "an object", str: "a string", type(None): "null"}.get(
        type(value), "a number" if isinstance(value, (int, float)) else "something else"
    )
