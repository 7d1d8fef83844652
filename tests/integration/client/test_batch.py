"""`lorelay batch` as a process that is killed in the midst of its work."""

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.fleet import ROOT
from tests.integration.gateway.system import LEGAL, RunningSystem, eventually

LINES = 120
VARIABLES = {"LORELAY_SERVICE_MS": "20"}


def write(path: Path, prompts: Sequence[str]) -> None:
    lines = [
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": "/v1/completions",
            "body": {"model": LEGAL, "prompt": prompt},
        }
        for number, prompt in enumerate(prompts)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def start(system: RunningSystem, folder: Path, *options: str) -> "subprocess.Popen[str]":
    files = (str(folder / "in.jsonl"), str(folder / "out.jsonl"))
    return lorelay(system, "batch", *files, *options)


def lorelay(system: RunningSystem, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT,
        env=os.environ
        | {
            "LORELAY_KAFKA": system.cluster.address,
            "LORELAY_TOPIC_PREFIX": system.topics.prefix,
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def output(folder: Path) -> list[dict[str, Any]]:
    path = folder / "out.jsonl"
    content = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith("\n")]


def test_a_batch_that_is_killed_goes_on_and_answers_each_line_once(
    system: RunningSystem, tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", [f"question {n}" for n in range(LINES)])
    for enough in (5, 40):
        running = start(system, tmp_path, "--at-once", "16")
        eventually(lambda enough=enough: len(output(tmp_path)) >= enough, "some answers")
        running.kill()
        running.communicate()
    assert len(output(tmp_path)) < LINES
    done = start(system, tmp_path, "--at-once", "16")
    _, told = done.communicate()
    assert done.returncode == 0, told
    found = output(tmp_path)
    assert {
        line["custom_id"]: line["response"]["body"]["choices"][0]["text"] for line in found
    } == {f"line-{n}": f"[{LEGAL}@1.0.0] question {n}" for n in range(LINES)}
    assert len(found) == LINES
    ids = {line["id"] for line in found}
    asked = Counter(query.id for query in system.queries() if query.id in ids)
    assert set(asked.values()) == {1}


def test_a_batch_whose_disk_is_full_says_so_and_goes_on_where_there_is_room_again(
    system: RunningSystem, tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", [f"full {n}" for n in range(20)])
    running = start(system, tmp_path, "--at-once", "8")
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (3_000, resource.RLIM_INFINITY))
    _, told = running.communicate()
    assert running.returncode == 2
    assert "out.jsonl can't be written" in " ".join(told.split())
    before = output(tmp_path)
    assert 0 < len(before) < 20
    assert (tmp_path / "out.jsonl").read_bytes().endswith(b"\n")
    done = start(system, tmp_path)
    _, told = done.communicate()
    assert done.returncode == 0, told
    after = output(tmp_path)
    assert after[: len(before)] == before
    assert Counter(line["custom_id"] for line in after) == {f"line-{n}": 1 for n in range(20)}
    ids = {line["id"] for line in after}
    asked = Counter(query.id for query in system.queries() if query.id in ids)
    assert set(asked.values()) == {1}


def test_of_a_file_that_was_changed_only_what_is_new_is_asked(
    system: RunningSystem, tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", ["as it was", " ", "moved"])
    done = start(system, tmp_path)
    done.communicate()
    assert done.returncode == 1
    before = output(tmp_path)
    first, _, last = (tmp_path / "in.jsonl").read_text().splitlines()
    write(tmp_path / "in.jsonl", ["as it was", "mended", "moved", "added"])
    _, mended, _, added = (tmp_path / "in.jsonl").read_text().splitlines()
    (tmp_path / "in.jsonl").write_text("\n".join((last, mended, first, added)))
    done = start(system, tmp_path)
    _, told = done.communicate()
    assert done.returncode == 0, told
    assert "4 lines, of which 2 were in" in told
    after = output(tmp_path)
    assert after[: len(before)] == before
    assert {line["custom_id"] for line in after[len(before) :]} == {"line-1", "line-3"}


def test_bad_lines_become_errors_and_the_status_tells(
    system: RunningSystem, tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", ["good", " "])
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("{broken\n")
    done = start(system, tmp_path)
    _, told = done.communicate()
    assert done.returncode == 1
    assert "2 lines" in told
    by_id = {line["custom_id"]: line for line in output(tmp_path)}
    assert by_id["line-0"]["response"]["status_code"] == 200
    assert by_id["line-1"]["response"]["status_code"] == 400
    assert by_id[None]["error"]["message"].startswith("line 3: it is no JSON")


def test_an_answer_that_can_t_be_read_is_its_line_s_error_then_and_later(
    system: RunningSystem, tmp_path: Path
) -> None:
    write(tmp_path / "in.jsonl", ["spoiled"])
    with system.nobody_answers():
        running = start(system, tmp_path)
        query = eventually(
            lambda: next((q for q in system.queries() if q.prompt == "spoiled"), None), "the query"
        )
        assert query.id is not None
        system.spoil_answer(query.id)
        running.communicate()
        (line,) = output(tmp_path)
        (tmp_path / "out.jsonl").write_bytes(b"")
        running = start(system, tmp_path)
        running.communicate()
    assert [line] == output(tmp_path)
    assert line["error"]["code"] == "malformed_record"
    assert running.returncode == 1


@pytest.mark.parametrize("name", ["none.jsonl", ".", "pipe"])
def test_a_file_that_can_t_be_read_is_a_sentence(
    system: RunningSystem, tmp_path: Path, name: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "in.jsonl").symlink_to(tmp_path / name)
    done = start(system, tmp_path)
    _, told = done.communicate()
    assert done.returncode == 2
    assert "can't be read" in told
