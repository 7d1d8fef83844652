"""Sets of labelled queries, read from folders that the caller names."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError

OUT_OF_SCOPE = "oos"

SOURCES = """\
A folder holds sets of queries, a FILE.jsonl each, with a JSON object a line: text, lang, domain,
and where there is one, split (train, val or test) and pair (shared by translations of a query).
Domain "oos" is out of scope. A set with both splits and out-of-scope queries is measured for its
rejects, one with pairs across its languages. The published figures come from these public sets:

  clinc150.jsonl         github.com/clinc/oos-eval: data/data_full.json with data/domains.json
  xsid_parallel.jsonl    github.com/mainlp/xsid: the German and the English file, joined by line
  sib200_parallel.jsonl  github.com/dadelani/sib-200: deu_Latn and eng_Latn, joined by index_id
"""

_NAMES = {"clinc150": "CLINC150", "xsid_parallel": "xSID", "sib200_parallel": "SIB-200"}


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query, the domain that it belongs to, and what is shared by its translations."""

    text: str
    language: str
    domain: str
    split: str = ""
    pair: str = ""

    @property
    def adapter(self) -> str | None:
        """Who should answer it; None is nobody."""
        return None if self.domain == OUT_OF_SCOPE else self.domain


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Labelled queries from one file."""

    name: str
    queries: tuple[LabelledQuery, ...]

    def of_split(self, split: str) -> tuple[LabelledQuery, ...]:
        """The queries of a split, in and out of scope."""
        return tuple(query for query in self.queries if query.split == split)

    @property
    def has_strangers(self) -> bool:
        """Whether it shows what rejecting costs: out-of-scope queries beside all three splits."""
        splits = {query.split for query in self.queries if query.adapter}
        strangers = any(query.adapter is None for query in self.of_split("test"))
        return strangers and splits.issuperset({"train", "val", "test"})

    @property
    def parallel_languages(self) -> tuple[str, ...]:
        """The languages that its pairs are in, sorted; none where nothing is translated."""
        languages = {query.language for query in self.queries if query.pair}
        return tuple(sorted(languages)) if len(languages) > 1 else ()


def load_sets(folders: Sequence[Path]) -> list[QuerySet]:
    """Every set in the folders, those of the published figures first.

    Raises: ConfigurationError for a folder that isn't there or holds no set, and for a broken line.
    """
    files: list[Path] = []
    for folder in folders:
        found = sorted(folder.glob("*.jsonl"))
        if not found:
            raise ConfigurationError(f"There are no query sets (*.jsonl) in {folder}.\n\n{SOURCES}")
        files += found
    known = list(_NAMES)
    files.sort(key=lambda path: known.index(path.stem) if path.stem in known else len(known))
    return [load_set(path) for path in files]


def load_set(path: Path) -> QuerySet:
    """The set in a file. Raises: ConfigurationError for a broken line, or for no text at all."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} can't be read as UTF-8 text: {error}.") from error
    queries = [_query(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return QuerySet(_NAMES.get(path.stem, path.stem), tuple(queries))


def _query(path: Path, number: int, line: str) -> LabelledQuery:
    try:
        row: dict[str, Any] = json.loads(line)
        needed = [row["text"], row["lang"], row["domain"]]
        fields = [*needed, row.get("split", ""), row.get("pair", "")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}, line {number} is not a labelled query: write a JSON object with text, lang "
            "and domain."
        ) from error
    return LabelledQuery(*map(str, fields))
