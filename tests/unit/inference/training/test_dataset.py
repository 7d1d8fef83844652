import json
from pathlib import Path

import pytest

from inference.training.dataset import (
    TrainingDataError,
    TrainingRow,
    read_rows,
    relative_weights,
    split_held_out,
)
from schemas.errors import ConfigurationError
from schemas.records import Message


def written(folder: Path, *lines: object) -> Path:
    path = folder / "rows.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def asked(question: str, weight: float = 1.0) -> TrainingRow:
    return TrainingRow((Message("user", question),), "An answer.", weight)


def test_an_instruction_row_becomes_a_question_and_its_answer(tmp_path: Path) -> None:
    row = {
        "instruction": "Was ist ein Pfand? ",
        "input": "",
        "output": "Ein Sicherungsrecht.",
        "weight": 1.5,
        "metadata": {"language": "de", "id": "legal-1"},
    }
    assert read_rows(written(tmp_path, row)) == [
        TrainingRow(
            (Message("user", "Was ist ein Pfand?"),), "Ein Sicherungsrecht.", 1.5, language="de"
        )
    ]


def test_an_input_follows_the_instruction_after_a_blank_line(tmp_path: Path) -> None:
    row = {"instruction": "Summarise.", "input": "A long text.", "output": "Short."}
    assert read_rows(written(tmp_path, row))[0].question == "Summarise.\n\nA long text."


def test_a_chat_keeps_its_turns_and_its_last_message_is_the_answer(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "2"},
    ]
    (row,) = read_rows(written(tmp_path, {"messages": turns}))
    assert [message.role for message in row.messages] == ["system", "user", "assistant", "user"]
    assert row.answer == "2"
    assert row.question == "Two?"


def test_a_text_row_is_learned_whole_with_no_question_before_it(tmp_path: Path) -> None:
    (row,) = read_rows(written(tmp_path, {"text": "A sentence.", "language": "en"}))
    assert row == TrainingRow((), "A sentence.", language="en")
    assert row.question == "A sentence."


def test_blank_lines_a_byte_order_mark_and_line_separators_in_strings_do_no_harm(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"text": "one"}\n\n  \n{"text": "two\u2028lines"}\r\n', encoding="utf-8")
    assert [row.answer for row in read_rows(path)] == ["one", "two\u2028lines"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{oops", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5000 + "x", "not JSON"),
        ('{"text": "\\ud800"}', "not JSON"),
        ("[1, 2]", "must be a JSON object, not a list"),
        ({"question": "?"}, '"instruction" and "output", or "messages", or "text"'),
        ({"instruction": "?"}, '"output" must be'),
        ({"instruction": " ", "output": "!"}, '"instruction" must be'),
        ({"instruction": "?", "output": 3}, '"output" must be'),
        ({"instruction": "?", "input": 3, "output": "!"}, '"input" must be a string'),
        ({"messages": "hello"}, '"messages" must be a list'),
        ({"messages": []}, "must end with the answer"),
        ({"messages": [{"role": "user", "content": "?"}]}, "must end with the answer"),
        ({"messages": [{"role": "assistant", "content": "!"}]}, 'role "user"'),
        ({"messages": [{"role": "robot", "content": "?"}]}, '"role" must be one of'),
        ({"text": "?", "weight": "heavy"}, '"weight" must be a number'),
        ({"text": "?", "weight": -1}, '"weight" must be a number'),
        ({"text": "?", "weight": True}, '"weight" must be a number'),
        ('{"text": "?", "weight": NaN}', "not JSON"),
        ({"text": "?", "language": 4}, '"language" must be a string'),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_in_one_sentence(
    tmp_path: Path, line: object, says: str
) -> None:
    path = written(tmp_path, {"text": "good"}, line)
    with pytest.raises(TrainingDataError) as caught:
        read_rows(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_or_hold_nothing_are_the_users_mistakes(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes('{"text": "größer"}'.encode("latin-1"))
    (tmp_path / "empty.jsonl").write_text("\n")
    for name, says in {
        "missing.jsonl": "no training file",
        "latin.jsonl": "not UTF-8",
        "empty.jsonl": "no rows",
        "": "cannot be read",
    }.items():
        with pytest.raises(ConfigurationError, match=says):
            read_rows(tmp_path / name)


def test_the_held_out_side_of_a_question_depends_on_nothing_but_the_question() -> None:
    rows = [asked(f"Question {number}?") for number in range(200)]
    _, held_out = split_held_out(rows, 0.1)
    _, of_reversed = split_held_out(rows[::-1], 0.1)
    _, of_half = split_held_out(rows[:100], 0.1)
    assert 8 <= len(held_out) <= 35
    assert of_reversed == held_out[::-1]
    assert of_half == [row for row in held_out if row in rows[:100]]


def test_a_larger_fraction_holds_out_the_same_questions_and_more() -> None:
    rows = [asked(f"Question {number}?") for number in range(200)]
    few, many = split_held_out(rows, 0.1)[1], split_held_out(rows, 0.3)[1]
    assert set(few) < set(many)


def test_a_repeated_question_stays_on_one_side() -> None:
    rows = [asked(f"Question {number % 50}?", weight=number) for number in range(100)]
    trained, held_out = split_held_out(rows, 0.5)
    assert {row.question for row in trained}.isdisjoint(row.question for row in held_out)
    assert len(trained) + len(held_out) == 100


def test_nothing_is_held_out_at_fraction_zero_and_all_of_it_is_refused() -> None:
    rows = [asked("One?"), asked("Two?")]
    assert split_held_out(rows, 0.0) == (rows, [])
    with pytest.raises(TrainingDataError, match="from 0 to below 1"):
        split_held_out(rows, 1.0)


def test_weights_are_relative_to_their_mean() -> None:
    assert relative_weights([asked("One?", 2.0), asked("Two?", 6.0)]) == [0.5, 1.5]
    with pytest.raises(TrainingDataError, match="weight 0"):
        relative_weights([asked("One?", 0.0)])


def test_no_rows_to_train_on_are_the_users_mistake() -> None:
    rows = [asked("One?"), asked("Two?")]
    with pytest.raises(TrainingDataError, match="--held-out-fraction 0"):
        split_held_out(rows, 0.999)
    with pytest.raises(TrainingDataError, match="no rows to train on"):
        relative_weights([])
