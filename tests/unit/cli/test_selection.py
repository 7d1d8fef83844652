"""`lorelay selection` and `lorelay route` over folders, without a cluster."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from cli import selection_sources
from cli.main import main
from tests.unit.streams.registry.factories import metadata
from tests.unit.streams.selection.topics import TopicEncoder


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Lorelay = Callable[..., Outcome]


@pytest.fixture
def lorelay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lorelay:
    """Runs the command with an encoder whose likeness is known, out of reach of any broker."""
    monkeypatch.setattr(selection_sources, "load_encoder", lambda name: TopicEncoder())
    monkeypatch.setenv("LORELAY_KAFKA", "127.0.0.1:9")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as left:
            status = int(left.code or 0)
        return Outcome(status, *capsys.readouterr())

    return run


def adapter(folder: Path, name: str, texts: Sequence[str], version: str = "1.0.0") -> Path:
    """A folder with metadata and examples; there are no weights yet."""
    folder.mkdir(parents=True)
    task = {"type": "qa", "domain": name.partition("-")[0], "language": "en"}
    described = metadata(adapter_id=name, adapter_version=version, task=task)
    (folder / "metadata.json").write_text(json.dumps(described))
    lines = [json.dumps({"text": text, "language": "en"}) for text in texts]
    (folder / "examples.jsonl").write_text("\n".join(lines))
    return folder


def texts(topic: str, count: int = 30) -> list[str]:
    return [f"{topic} {number}" for number in range(count)]


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """A folder of two adapters' folders."""
    folder = tmp_path / "adapters"
    adapter(folder / "law", "legal-qa-v1", texts("law"))
    adapter(folder / "music", "music-qa-v1", texts("music"))
    return folder


def labelled(file: Path, *rows: tuple[str, str | None]) -> Path:
    lines = [json.dumps({"text": text, "adapter": name, "language": "en"}) for text, name in rows]
    file.write_text("\n".join(lines))
    return file


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    return labelled(
        tmp_path / "queries.jsonl",
        ("law new", "legal-qa"),
        ("law newer", "legal-qa-v1"),
        ("music new", "music-qa-v1@1.0.0"),
        ("music mislabelled", "legal-qa"),
        ("cooking new", None),
        ("painting new", "none"),
    )


class TestRoute:
    def test_it_shows_thresholds_margins_and_the_nearest_examples(
        self, lorelay: Lorelay, adapters: Path
    ) -> None:
        outcome = lorelay("route", "law 7", "--language", "en", "--examples", adapters)
        assert outcome.status == 0
        lines = outcome.out.splitlines()
        assert lines[0].split() == ["adapter", "score", "threshold", "margin"]
        assert lines[1].startswith("legal-qa-v1@1.0.0")
        assert " +" in lines[1]
        assert lines[2].startswith("music-qa-v1@1.0.0")
        assert " -0." in lines[2]
        (nearest,) = (line for line in lines if line.rstrip().endswith(" law 7"))
        assert nearest.split() == ["1.000", "en", "law", "7"]
        assert lines[lines.index(nearest) - 2] == "legal-qa-v1@1.0.0"

    def test_json_keeps_the_routing_at_the_top_and_explains_beside_it(
        self, lorelay: Lorelay, adapters: Path
    ) -> None:
        arguments = ("route", "law 7", "-l", "en", "--examples", adapters, "--json")
        found = json.loads(lorelay(*arguments).out)
        assert found["adapter"] == "legal-qa-v1@1.0.0"
        assert found["language"] == "en"
        first, second = found["explanation"]["adapters"]
        assert first["score"] == found["score"]
        assert first["threshold"] == found["threshold"]
        assert first["margin"] == found["margin"] == pytest.approx(-second["margin"])
        assert first["examples"][0]["text"] == "law 7"
        assert first["examples"][0]["similarity"] == pytest.approx(1.0, abs=1e-5)
        assert found["explanation"]["adapters_compared"] == 2

    def test_an_examples_text_steers_no_terminal(self, lorelay: Lorelay, tmp_path: Path) -> None:
        folder = adapter(tmp_path / "law", "legal-qa-v1", ["law [bold]\x1b[2J", *texts("law")])
        outcome = lorelay("route", "law [bold]\x1b[2J", "-l", "en", "--examples", folder)
        assert r"law [bold]\x1b[2J" in outcome.out

    def test_a_cluster_that_does_not_answer_is_a_plain_sentence(self, lorelay: Lorelay) -> None:
        for arguments in (("route", "law 1"), ("selection", "audit")):
            outcome = lorelay(*arguments)
            assert outcome.status == 2
            assert "No Kafka broker answers at 127.0.0.1:9" in outcome.err
            assert "Traceback" not in outcome.err


class TestEvaluate:
    def test_it_prints_figures_confusion_languages_and_the_worst_mistakes(
        self, lorelay: Lorelay, adapters: Path, queries: Path
    ) -> None:
        outcome = lorelay("selection", "evaluate", queries, "--examples", adapters)
        assert outcome.status == 0
        shown = " ".join(outcome.out.split())
        assert "went where they belong 5 83.3 %" in shown
        assert "answered by their adapter 3 75.0 %" in shown
        assert "given to another adapter 1 25.0 %" in shown
        assert "left to the base model 2 100.0 %" in shown
        assert "1 legal-qa-v1@1.0.0 2 1 · " in shown
        assert "en 6 5 83.3 %" in shown
        assert f"music mislabelled ({queries}, line 4)" in shown.replace(" \n", "")
        assert "expected legal-qa-v1@1.0.0, chosen music-qa-v1@1.0.0" in shown

    def test_json_has_it_all(self, lorelay: Lorelay, adapters: Path, queries: Path) -> None:
        found = json.loads(
            lorelay("selection", "evaluate", queries, "--examples", adapters, "--json").out
        )
        assert found["accuracy"] == {"count": 5, "total": 6, "rate": pytest.approx(5 / 6)}
        assert found["rejected"]["count"] == 0
        assert found["caught"] == {"count": 2, "total": 2, "rate": 1.0}
        assert found["confusion"] == {
            "legal-qa-v1@1.0.0": {"legal-qa-v1@1.0.0": 2, "music-qa-v1@1.0.0": 1},
            "music-qa-v1@1.0.0": {"music-qa-v1@1.0.0": 1},
            "none": {"none": 2},
        }
        assert found["by_language"]["en"]["total"] == 6
        (mistake,) = found["mistakes"]
        assert mistake["text"] == "music mislabelled"
        assert (mistake["expected"], mistake["chosen"]) == (
            "legal-qa-v1@1.0.0",
            "music-qa-v1@1.0.0",
        )
        assert mistake["score"] >= mistake["threshold"]
        assert "closest to music-qa-v1@1.0.0" in mistake["reason"]

    @pytest.mark.parametrize(("least", "status"), [("0.8", 0), ("0.9", 1)])
    def test_an_accuracy_below_what_is_asked_for_is_status_1(
        self, least: str, status: int, lorelay: Lorelay, adapters: Path, queries: Path
    ) -> None:
        outcome = lorelay(
            "selection", "evaluate", queries, "--examples", adapters, "--min-accuracy", least
        )
        assert outcome.status == status
        assert ("accuracy is 0.833, 0.9 was asked for" in outcome.err) == bool(status)
        assert "went where they belong" in outcome.out

    def test_more_than_a_dozen_adapters_get_a_list_of_confusions(
        self, lorelay: Lorelay, tmp_path: Path
    ) -> None:
        for number in range(14):
            name = f"topic{number}-qa-v1"
            adapter(tmp_path / "adapters" / name, name, texts(f"topic{number}", 25))
        rows = [(f"topic{number} new", f"topic{number}-qa") for number in range(14)]
        file = labelled(tmp_path / "q.jsonl", *rows, ("topic3 mislabelled", "topic5-qa"))
        outcome = lorelay("selection", "evaluate", file, "--examples", tmp_path / "adapters")
        assert "most confused" in outcome.out
        shown = " ".join(outcome.out.split())
        assert "topic5-qa-v1@1.0.0 topic3-qa-v1@1.0.0 1 2" in shown

    def test_queries_that_are_examples_are_noted(
        self, lorelay: Lorelay, adapters: Path, tmp_path: Path
    ) -> None:
        file = labelled(tmp_path / "q.jsonl", ("law 3", "legal-qa"), ("law new", "legal-qa"))
        outcome = lorelay("selection", "evaluate", file, "--examples", adapters)
        assert f"1 of the queries, the first in {file}, line 1, can be found" in " ".join(
            outcome.out.split()
        )

    def test_the_confusion_is_drawn(
        self, lorelay: Lorelay, adapters: Path, queries: Path, tmp_path: Path
    ) -> None:
        picture = tmp_path / "confusion.svg"
        lorelay("selection", "evaluate", queries, "--examples", adapters, "--picture", picture)
        assert "given to" in picture.read_text()

    def test_several_files_are_one_evaluation(
        self, lorelay: Lorelay, adapters: Path, queries: Path, tmp_path: Path
    ) -> None:
        more = labelled(tmp_path / "more.jsonl", ("law newest", "legal-qa"))
        arguments = ("selection", "evaluate", queries, more, "--examples", adapters, "--json")
        assert json.loads(lorelay(*arguments).out)["queries"] == 7

    def test_a_share_of_false_rejects_can_be_asked_for(
        self, lorelay: Lorelay, adapters: Path, tmp_path: Path
    ) -> None:
        rows = [(f"law new {number}", "legal-qa") for number in range(100)]
        file = labelled(tmp_path / "q.jsonl", *rows)
        rejected = [
            json.loads(
                lorelay(
                    *("selection", "evaluate", file, "--examples", adapters, "--json"),
                    *("--false-reject", share),
                ).out
            )["rejected"]["count"]
            for share in ("0.01", "0.5")
        ]
        assert rejected[0] < rejected[1]


class TestAudit:
    def test_without_findings_it_says_so(self, lorelay: Lorelay, adapters: Path) -> None:
        outcome = lorelay("selection", "audit", "--examples", adapters)
        assert outcome.status == 0
        assert "60 examples of 2 adapters" in outcome.out
        assert outcome.out.count("✓") == 4

    def test_findings_come_with_texts_and_advice(
        self, lorelay: Lorelay, adapters: Path, tmp_path: Path
    ) -> None:
        own = [*texts("tax", 20), *(f"law misplaced {n}" for n in range(4)), "music 4"]
        adapter(adapters / "tax", "tax-qa-v1", own)
        adapter(adapters / "tiny", "tiny-qa-v1", texts("tiny", 3))
        found = json.loads(lorelay("selection", "audit", "--examples", adapters, "--json").out)
        overlapping = {(pair["adapter"], pair["other"]) for pair in found["overlaps"]}
        assert ("tax-qa-v1@1.0.0", "legal-qa-v1@1.0.0") in overlapping
        strayed = {each["text"] for each in found["strayed"]}
        assert {f"law misplaced {n}" for n in range(4)} <= strayed
        (few,) = found["too_few"]
        assert (few["adapter"], few["language"], few["needed"]) == ("tiny-qa-v1@1.0.0", "en", 17)
        row = found["adapters"].index("tax-qa-v1@1.0.0")
        column = found["adapters"].index("legal-qa-v1@1.0.0")
        assert found["overlap_matrix"][row][column] == pytest.approx(4 / 25)

        shown = lorelay("selection", "audit", "--examples", adapters, "--most", 2)
        assert "Adapters that overlap" in shown.out
        assert "and 3 more" in shown.out
        assert "law misplaced" in shown.out

    def test_the_overlap_is_drawn_in_both_formats(
        self, lorelay: Lorelay, adapters: Path, tmp_path: Path
    ) -> None:
        png, svg = tmp_path / "o.png", tmp_path / "o.svg"
        outcome = lorelay(
            *("selection", "audit", "--examples", adapters, "--picture", png, "--picture", svg)
        )
        assert outcome.status == 0
        assert png.read_bytes().startswith(b"\x89PNG")
        assert svg.read_text().count("legal-qa-v1@1.0.0") == 2


class TestFolders:
    def test_of_two_versions_the_newer_one_takes_part(
        self, lorelay: Lorelay, adapters: Path
    ) -> None:
        adapter(adapters / "law2", "legal-qa-v2", texts("law"), "2.0.0")
        outcome = lorelay("selection", "audit", "--examples", adapters)
        assert "legal-qa-v1@1.0.0 is left out: of its family, legal-qa-v2@2.0.0" in outcome.err
        assert "2 adapters" in outcome.out

    def test_an_adapter_without_examples_is_noted(self, lorelay: Lorelay, adapters: Path) -> None:
        (adapter(adapters / "tax", "tax-qa-v1", []) / "examples.jsonl").unlink()
        outcome = lorelay("selection", "audit", "--examples", adapters)
        assert "tax-qa-v1@1.0.0 has no examples" in outcome.err


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("evaluate", "{tmp}/missing.jsonl"), "missing.jsonl can't be read: No such file"),
            (("evaluate", "{tmp}"), "can't be read: Is a directory"),
            (("evaluate", "{tmp}/broken.jsonl"), "broken.jsonl, line 2: This is not JSON"),
            (("evaluate", "{tmp}/unknown.jsonl"), "line 1: No adapter legal-qu can be selected"),
            (("evaluate", "{tmp}/latin.jsonl"), "latin.jsonl is not UTF-8"),
            (("evaluate", "{tmp}/empty.jsonl"), "empty.jsonl has no queries"),
            (("audit", "--picture", "{tmp}/a.gif"), "ends in .png or .svg"),
            (("audit", "--false-reject", "0"), "name a share above 0 and below 1"),
            (("audit", "--examples", "{tmp}/nowhere"), "There is no file or folder"),
            (("audit", "--examples", "{tmp}/bad"), "Line 1 of the examples is not JSON"),
            (("audit", "--examples", "{tmp}/adapters/law"), "is in two of the folders"),
        ],
    )
    def test_a_mistake_is_one_sentence_and_status_2(
        self,
        arguments: Sequence[str],
        problem: str,
        lorelay: Lorelay,
        adapters: Path,
        tmp_path: Path,
    ) -> None:
        good = '{"text": "x", "adapter": null}\n'
        (tmp_path / "broken.jsonl").write_text(f"{good}{{\n")
        (tmp_path / "unknown.jsonl").write_text('{"text": "x", "adapter": "legal-qu"}')
        (tmp_path / "latin.jsonl").write_bytes('{"text": "ü"}'.encode("latin-1"))
        (tmp_path / "empty.jsonl").write_text("\n")
        (adapter(tmp_path / "bad", "tax-qa-v1", []) / "examples.jsonl").write_text("{")
        given = [argument.format(tmp=tmp_path) for argument in arguments]
        outcome = lorelay("selection", *given, "--examples", adapters)
        assert outcome.status == 2
        assert outcome.err.startswith("lorelay: ")
        assert outcome.err.count("\n") == 1
        assert problem in outcome.err
        assert outcome.out == ""

    def test_folders_without_examples_say_what_to_do(
        self, lorelay: Lorelay, tmp_path: Path
    ) -> None:
        folder = adapter(tmp_path / "law", "legal-qa-v1", [])
        outcome = lorelay("selection", "audit", "--examples", folder)
        assert outcome.status == 2
        assert "No adapter can be selected yet" in outcome.err

    def test_every_command_comes_with_examples(self, lorelay: Lorelay) -> None:
        for command in (("selection", "evaluate"), ("selection", "audit"), ("route",)):
            outcome = lorelay(*command, "--help")
            assert outcome.status == 0
            assert outcome.out.count(f"lorelay {' '.join(command)}") >= 3
