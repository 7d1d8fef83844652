import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Codec
from schemas.errors import RegistrationRefused
from schemas.records import Example
from streams.registry.examples import MAX_PART_BYTES, read_examples, record_key, split
from tests.unit.streams.registry.factories import some_examples, version


def lines(*rows: object) -> list[str]:
    return [json.dumps(row) for row in rows]


def test_an_example_is_read_as_training_writes_it() -> None:
    rows = lines({"text": "Frage?", "language": "de", "held_out": True}, {"text": "Question?"})
    assert read_examples(rows) == [Example("Frage?", "de", True), Example("Question?")]


def test_training_data_serves_as_examples() -> None:
    rows = lines(
        {
            "instruction": "Wie lange?",
            "input": "",
            "output": "Drei Jahre.",
            "metadata": {"language": "de"},
        },
        {"instruction": "Summarise.", "input": "A text.", "output": "..."},
        {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hi."}]},
    )
    assert read_examples(rows) == [
        Example("Wie lange?", "de"),
        Example("Summarise.\nA text."),
        Example("Hi?"),
    ]


def test_blank_lines_are_skipped_and_a_text_counts_once() -> None:
    rows = ["", *lines({"text": "a", "held_out": True}, {"text": "a"}), "  \n"]
    assert read_examples(rows) == [Example("a", held_out=True)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Line 2 of the examples is not JSON"),
        ("[1]", "Line 2 of the examples is no JSON object"),
        ("{}", "Line 2 of the examples: .*text: is missing"),
        ('{"text": 5}', "text: expected text"),
        ('{"text": " "}', "Line 2 of the examples has an empty text"),
        ('{"text": "a", "language": 5}', "language: expected text"),
        ('{"text": "a", "held_out": "no"}', "held_out"),
        ('{"messages": [{"role": "system", "content": "a"}]}', "text: is missing"),
        ('{"text": "' + "a" * MAX_PART_BYTES + 'a"}', "longer than 256 KB"),
    ],
)
def test_a_line_that_is_no_example_is_named(line: str, reason: str) -> None:
    with pytest.raises(RegistrationRefused, match=reason):
        read_examples([*lines({"text": "ok"}), line])


def test_many_examples_are_cut_into_parts_that_fit_a_record() -> None:
    examples = some_examples(10_000)
    parts = split(version(), examples)
    assert len(parts) > 1
    assert [part.part for part in parts] == list(range(len(parts)))
    assert {part.parts for part in parts} == {len(parts)}
    assert tuple(example for part in parts for example in part.examples) == examples
    for part in parts:
        assert len(Codec().encode(part)) <= MAX_PART_BYTES + 200


@given(st.lists(st.text(max_size=50).map(Example), max_size=30))
def test_no_example_is_lost_or_moved(examples: list[Example]) -> None:
    parts = split(version(), examples)
    assert [example for part in parts for example in part.examples] == examples


def test_no_examples_are_no_parts() -> None:
    assert split(version(), ()) == []


def test_a_part_is_keyed_by_its_version_and_number() -> None:
    assert record_key(split(version(), some_examples(1))[0]) == "legal-qa-v1@1.0.0#0"
