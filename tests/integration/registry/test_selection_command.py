"""`lorelay selection` and `lorelay route` against a real registry, with the real encoder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli.main import main
from streams.kafka.settings import KafkaSettings
from tests.unit.streams.registry.factories import write_adapter
from tests.unit.streams.selection.test_selection import LIBRARY, PARKING


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Lorelay = Callable[..., Outcome]

QUERIES = (
    ("Wie teuer ist das Parken im Zentrum?", "city-parking"),
    ("How can I get a parking permit for residents?", "city-parking-v1"),
    ("Wie viele Wochen darf ich Bücher behalten?", "city-library"),
    ("What is the fine for returning a book late?", "city-library-v1@1.0.0"),
    ("Wie lange schläft ein Elefant?", None),
    ("Write a limerick about a penguin.", "none"),
)


@pytest.fixture
def lorelay(
    kafka_settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Lorelay:
    """Runs a command with this test's topics."""
    monkeypatch.setenv("LORELAY_KAFKA", kafka_settings.kafka)
    monkeypatch.setenv("LORELAY_TOPIC_PREFIX", kafka_settings.topic_prefix)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as left:
            status = int(left.code or 0)
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture
def registered(live_topics: object, lorelay: Lorelay, tmp_path: Path) -> Path:
    """Two adapters in two languages, registered; their folders lie here."""
    folder = tmp_path / "adapters"
    for name, rows in (("city-parking-v1", PARKING), ("city-library-v1", LIBRARY)):
        write(folder / name, name, rows)
        assert lorelay("adapters", "register", folder / name).status == 0
    return folder


def write(folder: Path, name: str, rows: Sequence[tuple[str, str]]) -> None:
    task = {"type": "qa", "domain": "city", "language": "de,en"}
    write_adapter(folder, examples=0, adapter_id=name, adapter_version="1.0.0", task=task)
    lines = [json.dumps({"text": text, "language": language}) for text, language in rows]
    (folder / "examples.jsonl").write_text("\n".join(lines))


def labelled(file: Path) -> Path:
    file.write_text("\n".join(json.dumps({"text": t, "adapter": a}) for t, a in QUERIES))
    return file


def test_labelled_queries_are_measured_against_the_live_registry(
    lorelay: Lorelay, registered: Path, tmp_path: Path
) -> None:
    queries = labelled(tmp_path / "queries.jsonl")
    outcome = lorelay("selection", "evaluate", queries, "--min-accuracy", "1")
    assert outcome.status == 0, outcome
    found = json.loads(lorelay("selection", "evaluate", queries, "--json").out)
    assert found["accuracy"] == {"count": 6, "total": 6, "rate": 1.0}
    assert found["by_language"]["de"] == {"count": 3, "total": 3, "rate": 1.0}


def test_folders_give_the_figures_that_the_registry_gives_once_they_are_in_it(
    lorelay: Lorelay, registered: Path, tmp_path: Path
) -> None:
    queries = labelled(tmp_path / "queries.jsonl")
    commands: tuple[tuple[Any, ...], ...] = (
        ("selection", "evaluate", queries),
        ("selection", "audit"),
    )
    for command in commands:
        offline = json.loads(lorelay(*command, "--json", "--examples", registered).out)
        assert offline == json.loads(lorelay(*command, "--json").out)


def test_route_explains_what_the_registry_makes_of_a_text(
    lorelay: Lorelay, registered: Path
) -> None:
    found = json.loads(lorelay("route", "Wie verlängere ich mein Buch?", "--json").out)
    best = found["explanation"]["adapters"][0]
    assert found["adapter"] == best["adapter"] == "city-library-v1@1.0.0"
    assert "Wie verlängere ich die Leihfrist?" in {each["text"] for each in best["examples"]}
    assert {each["language"] for each in best["examples"]} <= {"de", "en"}


@pytest.mark.usefixtures("live_topics")
def test_an_empty_registry_says_how_to_begin(lorelay: Lorelay, tmp_path: Path) -> None:
    queries = labelled(tmp_path / "queries.jsonl")
    for command in (("audit",), ("evaluate", queries)):
        outcome = lorelay("selection", *command)
        assert outcome.status == 2
        assert "lorelay adapters register FOLDER" in outcome.err
    routed = lorelay("route", "Wer?")
    assert routed.status == 2
    assert json.loads(lorelay("route", "Wer?", "--json").out)["adapter"] is None
