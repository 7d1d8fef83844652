"""Sets of queries as they are read, and what is said of broken ones."""

from pathlib import Path

import pytest

from benchmarks.selection.queries import load_set, load_sets
from schemas.errors import ConfigurationError
from tests.unit.benchmarks.selection.sets import parallel, scoped, write


def test_what_a_set_can_show_is_read_from_its_queries(tmp_path: Path) -> None:
    one, other = (
        load_set(write(tmp_path / name, rows))
        for name, rows in (("one.jsonl", scoped()), ("other.jsonl", parallel()))
    )
    assert (one.name, one.has_strangers, one.parallel_languages) == ("one", True, ())
    assert (other.name, other.has_strangers, other.parallel_languages) == (
        "other",
        False,
        ("de", "en"),
    )


def test_strangers_alone_show_nothing(tmp_path: Path) -> None:
    rows = [row for row in scoped() if row["split"] != "val"]
    assert not load_set(write(tmp_path / "set.jsonl", rows)).has_strangers


def test_published_sets_come_first_and_have_their_names(tmp_path: Path) -> None:
    for name in ("another", "clinc150", "xsid_parallel"):
        write(tmp_path / f"{name}.jsonl", scoped(1))
    assert [known.name for known in load_sets([tmp_path])] == ["CLINC150", "xSID", "another"]


def test_an_empty_folder_says_where_sets_come_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="clinc/oos-eval"):
        load_sets([tmp_path])


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"text": "x", "lang": "en"}'])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "set.jsonl", scoped(1))
    path.write_text(path.read_text() + "\n" + line + "\n")
    number = len(path.read_text().splitlines())
    with pytest.raises(ConfigurationError, match=f"set.jsonl, line {number} "):
        load_set(path)


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_set(path)
