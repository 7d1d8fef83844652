import json
from pathlib import Path

import pytest

from cli.stack.folder import ProcessRecord, StackFolder, StackRecord
from schemas.errors import ConfigurationError

RECORD = StackRecord(
    "127.0.0.1:9092",
    {
        "kafka": ProcessRecord(10, 100, "2026-01-01T00:00:00+00:00"),
        "worker": ProcessRecord(
            11,
            101,
            "2026-01-01T00:00:01+00:00",
            "http://127.0.0.1:4000",
            {"LORELAY_ENGINE": "echo"},
        ),
    },
)


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    made = StackFolder(tmp_path / ".lorelay")
    made.create()
    return made


def test_a_record_is_read_as_it_was_written(folder: StackFolder) -> None:
    folder.write(RECORD)
    assert folder.read() == RECORD


def test_others_find_the_cluster_and_the_metrics_addresses(folder: StackFolder) -> None:
    folder.write(RECORD)
    content = json.loads(folder.stack_file.read_text())
    assert content["kafka"] == "127.0.0.1:9092"
    assert content["processes"]["worker"]["metrics"] == "http://127.0.0.1:4000"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"processes": {"worker": {}}}', '{"processes": 3}', "null"]
)
def test_a_file_that_is_not_ours_reads_as_an_empty_record(folder: StackFolder, text: str) -> None:
    folder.stack_file.write_text(text)
    assert folder.read() == StackRecord()


def test_no_file_reads_as_an_empty_record(folder: StackFolder) -> None:
    assert folder.read() == StackRecord()


def test_a_process_is_added_replaced_and_taken_out() -> None:
    again = ProcessRecord(12, 102, "2026-01-01T00:00:02+00:00")
    replaced = RECORD.with_process("worker", again)
    assert replaced.processes["worker"] == again
    assert set(replaced.without_process("worker").processes) == {"kafka"}


def test_a_second_command_is_kept_out_while_one_is_at_work(folder: StackFolder) -> None:
    with (
        folder.locked(),
        pytest.raises(ConfigurationError, match="at work"),
        StackFolder(folder.root).locked(),
    ):
        pass
    with folder.locked():
        pass
