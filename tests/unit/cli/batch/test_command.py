"""`lorelay batch` without a cluster: what it refuses."""

import json
from pathlib import Path

import pytest

from cli.main import main


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("name", ["in.jsonl", "link.jsonl"])
def test_answers_are_not_written_over_their_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, end: str
) -> None:
    source = tmp_path / "in.jsonl"
    asked = json.dumps({"custom_id": "1", "url": "/v1/completions", "body": {"prompt": "x"}}) + end
    source.write_text(asked)
    (tmp_path / "link.jsonl").symlink_to(source)

    assert main(["batch", str(source), str(tmp_path / name)]) == 2

    assert "name another file for the answers" in capsys.readouterr().err
    assert source.read_text() == asked
