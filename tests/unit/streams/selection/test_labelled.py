"""Reading labelled queries."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.selection.labelled import LabelledQueriesError, LabelledQuery, read_labelled

NAMES = {
    "legal-qa": "legal-qa-v1@1.2.0",
    "legal-qa-v1": "legal-qa-v1@1.2.0",
    "legal-qa-v1@1.2.0": "legal-qa-v1@1.2.0",
}


def read(*lines: str) -> list[LabelledQuery]:
    return read_labelled(lines, "q.jsonl", NAMES)


@pytest.mark.parametrize("label", NAMES)
def test_an_adapter_goes_by_its_version_its_id_or_its_family(label: str) -> None:
    (query,) = read(json.dumps({"text": "Wer haftet?", "adapter": label, "language": "de"}))
    assert query == LabelledQuery("Wer haftet?", "legal-qa-v1@1.2.0", "de", "q.jsonl, line 1")


@pytest.mark.parametrize("label", [None, "none", "base"])
def test_a_query_may_belong_to_none(label: str | None) -> None:
    (query,) = read(json.dumps({"text": "Wie geht's?", "adapter": label}))
    assert (query.adapter, query.language) == (None, None)


def test_blank_lines_are_passed_over_and_counted() -> None:
    line = '{"text": "x", "adapter": null}'
    assert [query.place for query in read("\n", line, "  ", line)] == [
        "q.jsonl, line 2",
        "q.jsonl, line 4",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "A query is an object"),
        ('{"adapter": null}', '"text" must be'),
        ('{"text": " ", "adapter": null}', '"text" must be'),
        ('{"text": 1, "adapter": null}', '"text" must be'),
        ('{"text": "x"}', 'There is no "adapter"'),
        ('{"text": "x", "adapter": 3}', '"adapter" must be'),
        ('{"text": "x", "adapter": ["legal-qa"]}', '"adapter" must be'),
        ('{"text": "x", "adapter": null, "language": 5}', '"language" must be'),
        ('{"text": "x", "adapter": null, "language": "?"}', "language is '?'"),
        ('{"text": "x", "adapter": "legal-qs"}', "did you mean legal-qa"),
        ('{"text": "x", "adapter": "zzz"}', "there is legal-qa-v1@1.2.0"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line: str, problem: str) -> None:
    with pytest.raises(LabelledQueriesError) as told:
        read('{"text": "x", "adapter": null}', line)
    assert str(told.value).startswith("q.jsonl, line 2: ")
    assert problem in str(told.value)


def test_a_file_without_queries_says_what_to_write() -> None:
    with pytest.raises(LabelledQueriesError, match=r"q\.jsonl has no queries; write"):
        read("", "\n")


@given(
    st.text(max_size=60)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps)
)
def test_any_line_is_read_or_refused_in_a_sentence(line: str) -> None:
    try:
        read(line)
    except LabelledQueriesError as error:
        assert str(error).startswith("q.jsonl")
