"""Queries whose right adapter is known: reading a file of them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import orjson

from schemas.errors import ConfigurationError, InvalidRequest
from schemas.records import BASE, Query
from schemas.validation import validate_query

NONE: Final = "none"
"""The label of a query that belongs to no adapter; null and ``base`` say the same."""

_NEAR_NAMES: Final = 3

Names = Mapping[str, str]
"""Every name of an adapter that can be selected, and the ``id@version`` that it means."""


class LabelledQueriesError(ConfigurationError):
    """A file of labelled queries that can't be used; the message names file and line."""


class _BadLine(Exception):
    """What is wrong with one line, before its place is known."""


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query; ``adapter`` is the ``id@version`` it belongs to, None where it belongs to none.

    ``language`` is what the query says of itself, None to have it detected; ``place`` is its
    file and line.
    """

    text: str
    adapter: str | None
    language: str | None
    place: str


def read_labelled(lines: Iterable[str], source: str, names: Names) -> list[LabelledQuery]:
    """The queries of a JSON lines file named ``source``; blank lines are passed over.

    A line is ``{"text": ..., "adapter": ..., "language": "de"}``: ``adapter`` is one of ``names``,
    or null or "none" for a query that belongs to none of them; ``language`` may be left out.
    Raises LabelledQueriesError for any other line, and where there is none.
    """
    queries = []
    for number, line in enumerate(lines, 1):
        place = f"{source}, line {number}"
        if line.strip():
            try:
                queries.append(_query(_object(line), names, place))
            except _BadLine as problem:
                raise LabelledQueriesError(f"{place}: {problem}") from None
    if not queries:
        raise LabelledQueriesError(
            f'{source} has no queries; write {{"text": ..., "adapter": ...}}, one a line.'
        )
    return queries


def _object(line: str) -> Mapping[str, Any]:
    try:
        row = orjson.loads(line)
    except ValueError as error:
        raise _BadLine(f"This is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise _BadLine('A query is an object, {"text": ..., "adapter": ...}.')
    return row


def _query(row: Mapping[str, Any], names: Names, place: str) -> LabelledQuery:
    text, language = row.get("text"), row.get("language")
    if not isinstance(text, str) or not text.strip():
        raise _BadLine('"text" must be the query, and not empty.')
    if not isinstance(language, str | None):
        raise _BadLine('"language" must be a text such as "de", or be left out.')
    if "adapter" not in row:
        raise _BadLine('There is no "adapter"; where the query belongs to none, write null.')
    try:
        validate_query(Query(prompt=text, language=language))
    except InvalidRequest as error:
        raise _BadLine(str(error)) from None
    return LabelledQuery(text, _adapter(row["adapter"], names), language, place)


def _adapter(label: Any, names: Names) -> str | None:
    if label in (None, NONE, BASE):
        return None
    if not isinstance(label, str):
        raise _BadLine('"adapter" must be an id@version, an id or a family, or null for none.')
    if label not in names:
        near = get_close_matches(label, sorted({*names, NONE}), n=_NEAR_NAMES)
        meant = f"did you mean {' or '.join(near)}?" if near else f"there is {_some(names)}."
        raise _BadLine(f"No adapter {label} can be selected: {meant}")
    return names[label]


def _some(names: Names) -> str:
    keys = sorted(set(names.values()))
    shown = ", ".join(keys[:_NEAR_NAMES])
    return f"{shown} and {len(keys) - _NEAR_NAMES} more" if len(keys) > _NEAR_NAMES else shown
