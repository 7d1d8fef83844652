"""The whole measurement on small sets, through real selectors."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from benchmarks.selection.__main__ import QUICK, app, measured
from benchmarks.selection.lorelay import Lorelay, RememberingEncoder, remembering
from benchmarks.selection.peer import SemanticRouter, peer_version
from benchmarks.selection.queries import load_sets
from benchmarks.selection.scope import scope_trial
from benchmarks.selection.trial import Contender
from schemas.errors import ConfigurationError
from streams.selection.joined import JoinedEncoder
from tests.unit.benchmarks.selection.sets import parallel, scoped, write
from tests.unit.streams.selection.topics import TopicEncoder

_PEERS = Path(__file__).parents[4] / ".venv-peers" / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    folder.mkdir()
    write(folder / "a_topics.jsonl", scoped(20))
    write(folder / "pairs.jsonl", parallel())
    return folder


def rows(tables: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return next(table["rows"] for table in tables if table["name"] == name)


def test_every_table_follows_from_the_selectors_decisions(folder: Path) -> None:
    said: list[str] = []
    sets = load_sets([folder])
    tables = [t.as_json() for t in measured(sets, [TopicEncoder(0.5)], None, QUICK, 1, said.append)]
    assert [table["name"] for table in tables] == [
        "encoders",
        "a_topics: ranking",
        "a_topics: thresholds",
        "a_topics: robustness",
        "pairs: languages",
        "pairs: robustness",
    ]
    assert all(table["rows"] for table in tables)
    ranking = rows(tables, "a_topics: ranking")
    assert [row["examples"] for row in ranking] == ["10", "all"]
    for row in ranking:
        assert row["accuracy"]["mean"] == 100
        assert row["AUROC"]["mean"] > 95
        assert row["out-of-scope recall"]["mean"] > 80
    directions = [row["examples -> queries"] for row in rows(tables, "pairs: languages")]
    assert directions == [
        f"{learnt} -> {spoken}"
        for learnt in ("de", "en", "de+en", "de+en translated")
        for spoken in ("de", "en")
    ]
    # Its idea of a topic is the first word's spelling, which capitals and preambles take away.
    by_change = {
        row["queries"]: row["topics: accuracy"]["mean"]
        for row in rows(tables, "a_topics: robustness")
    }
    assert by_change["none"] == by_change["trailing sentence"] == 100
    assert by_change["all capitals"] < 100
    assert by_change["polite preamble"] < 100
    assert any("a_topics, all examples" in line for line in said)


def test_a_set_that_shows_nothing_is_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path / "plain.jsonl", [row for row in scoped(3) if row["domain"] != "oos"])
    said: list[str] = []
    tables = measured(load_sets([tmp_path]), [TopicEncoder()], None, QUICK, 1, said.append)
    assert [table.name for table in tables] == ["encoders"]
    assert any(line.startswith("plain is left out") for line in said)


def test_figures_are_printed_and_written(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures" / "selection.json"
    options = ["--data", str(folder), "--encoder", "use-multilingual", "--quick", "--no-peers"]
    options += ["--examples", "5"]
    done = CliRunner().invoke(app, [*options, "--json", str(file)])
    assert done.exit_code == 0, done.output
    assert "a_topics: ranking" in done.stdout
    written = json.loads(file.read_text("utf-8"))
    assert written["draws"] == QUICK.draws
    (row,) = rows(written["tables"], "a_topics: ranking")
    assert row["examples"] == "5"
    (rate,) = rows(written["tables"], "encoders")
    assert rate["one by one"]["mean"] > 0


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 2, "clinc/oos-eval"),
        (["--data", "nowhere"], 1, "no query sets"),
        (
            ["--data", "{folder}", "--no-peers", "--encoder", "./nowhere"],
            1,
            "There is no folder ./nowhere",
        ),
        (["--data", "{folder}", "--encoder", "minilm", "--peer-encoder", "x"], 1, "is minilm."),
    ],
)
def test_what_is_missing_is_told(folder: Path, options: list[str], status: int, said: str) -> None:
    done = CliRunner().invoke(app, [option.format(folder=folder) for option in options])
    assert done.exit_code == status
    assert said in done.stderr


class CountingEncoder(TopicEncoder):
    """Counts the texts that it had to encode."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.texts = 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, 32)."""
        self.texts += len(texts)
        return super().encode(texts)


def test_each_text_is_encoded_once() -> None:
    counting = CountingEncoder("one")
    encoder = RememberingEncoder(counting)
    first = encoder.encode(["a", "b", "a"])
    second = encoder.encode(["b", "c"])
    assert counting.texts == 3
    assert np.array_equal(first[1], second[0])
    assert encoder.encode([]).shape == (0, TopicEncoder.dimensions)


def test_a_joined_encoder_shares_what_its_parts_remember() -> None:
    parts = [CountingEncoder("one"), CountingEncoder("other")]
    joined = JoinedEncoder(parts)
    expected = joined.encode(["a", "b"])
    one, other, both = remembering([*parts, joined])
    for encoder in (one, other):
        encoder.encode(["a", "b"])
    counted = [part.texts for part in parts]
    assert (one.name, other.name, both.name) == ("one", "other", "one+other")
    assert np.allclose(both.encode(["a", "b"]), expected)
    assert [part.texts for part in parts] == counted


def test_an_environment_without_semantic_router_is_seen(tmp_path: Path) -> None:
    assert peer_version(Path(sys.executable)) is None
    assert peer_version(tmp_path / "no-python") is None


def test_a_peer_that_fails_says_what_to_do(folder: Path) -> None:
    (topics, *_) = load_sets([folder])
    peer = SemanticRouter(TopicEncoder(), Path(sys.executable), "0")
    with pytest.raises(ConfigurationError, match="set its environment up again"):
        peer.examined([scope_trial(topics, 5, 0)])


@pytest.mark.skipif(not _PEERS.exists(), reason="`make bench-selection` sets up .venv-peers")
def test_semantic_router_answers_the_same_trial(folder: Path) -> None:
    (topics, *_) = load_sets([folder])
    trial = scope_trial(topics, 10, 0)
    version = peer_version(_PEERS)
    assert version
    encoder = TopicEncoder(0.3)
    contenders: list[Contender] = [SemanticRouter(encoder, _PEERS, version), Lorelay(encoder)]
    for contender in contenders:
        (outcome,) = contender.examined([trial])
        expected = [query.domain for query in trial.asked if query.adapter]
        nearest = [
            adapter
            for adapter, query in zip(outcome.asked.nearest, trial.asked, strict=True)
            if query.adapter
        ]
        assert nearest == expected
        assert len(outcome.fitting.scores) == len(trial.fitting)
        assert outcome.seconds > 0
