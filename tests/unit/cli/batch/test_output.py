"""The file of answers, over the deaths of its writers."""

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.batch.output import Output
from schemas.errors import ConfigurationError

A, B, C = (f"batch-line-{letter * 32}" for letter in "abc")


def line(name: Any, status: int = 200) -> bytes:
    content = {"id": name, "custom_id": name, "response": {"status_code": status}, "error": None}
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file takes more bytes within the block, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_writer_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Output(path) as output:
        assert not output.has_begun
        output.write(A, line(A))
        output.write(B, line(B, 404))
    with Output(path) as output:
        assert output.has_begun
        assert output.done == {A, B}
        assert output.failed == {B}
        output.write(C, line(C))
    assert path.read_bytes() == line(A) + line(B, 404) + line(C)


@pytest.mark.parametrize("length", range(1, len(line(B))))
def test_a_line_that_was_not_written_to_its_end_is_written_anew(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(line(A) + line(B)[:length])
    with Output(path) as output:
        assert output.done == {A}
        output.write(B, line(B))
    assert path.read_bytes() == line(A) + line(B)


def test_a_second_writer_is_told(tmp_path: Path) -> None:
    with Output(tmp_path / "out"), pytest.raises(ConfigurationError, match="Another command"):
        Output(tmp_path / "out").__enter__()


@pytest.mark.parametrize("content", ["words\n", "[]\n", '{"id": "a"}\n'])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="no answer of a batch"):
        Output(path).__enter__()
    assert path.read_text() == content


@pytest.mark.parametrize("name", [f"batch-{'a' * 32}", f"bad-line-{'a' * 32}", "batch_req_1", 7])
def test_a_file_with_ids_of_an_earlier_version_or_of_another_program_is_left_alone(
    tmp_path: Path, name: Any
) -> None:
    path = tmp_path / "out"
    path.write_bytes(line(name))
    with pytest.raises(ConfigurationError, match="or one of an earlier version"):
        Output(path).__enter__()
    assert path.read_bytes() == line(name)


@pytest.mark.parametrize("before", [b"", line(A)])
@pytest.mark.parametrize(
    "content", [b"words", b'{"custom_id": "1"}', b'{"id": "1"}', b'{"id":"b-1"}', b"\x00"]
)
def test_half_a_line_of_something_else_is_left_alone(
    tmp_path: Path, before: bytes, content: bytes
) -> None:
    path = tmp_path / "out"
    path.write_bytes(before + content)
    with pytest.raises(ConfigurationError, match="no answer of a batch"):
        Output(path).__enter__()
    assert path.read_bytes() == before + content


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be written"):
        Output(tmp_path).__enter__()


@pytest.mark.parametrize("fitting", [0, 1, 40, len(line(B, 404)) - 1])
def test_a_line_that_the_disk_has_no_room_for_is_told_and_is_not_done(
    tmp_path: Path, fitting: int
) -> None:
    path = tmp_path / "out"
    with Output(path) as output:
        output.write(A, line(A))
        with (
            room_for(len(line(A)) + fitting),
            pytest.raises(ConfigurationError, match=r"out can't be written \(File too large\)"),
        ):
            output.write(B, line(B, 404))
        assert (output.done, output.failed) == ({A}, set())
        assert path.read_bytes() == line(A)
        output.write(C, line(C))
    with Output(path) as output:
        assert output.done == {A, C}


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ConfigurationError, match="it is no file"):
            Output(path).__enter__()
