"""`lorelay adapters` against a real broker."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.main import main
from schemas.topics import Topics
from streams.kafka.settings import KafkaSettings
from tests.unit.streams.registry.factories import metadata, write_adapter


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Lorelay = Callable[..., Outcome]


@pytest.fixture
def lorelay(
    kafka_settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Lorelay:
    """Runs the command with this test's topics."""
    monkeypatch.setenv("LORELAY_KAFKA", kafka_settings.kafka)
    monkeypatch.setenv("LORELAY_TOPIC_PREFIX", kafka_settings.topic_prefix)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        try:
            status = main(["adapters", *map(str, arguments)])
        except SystemExit as left:
            status = int(left.code or 0)
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.mark.usefixtures("live_topics")
class TestWithTopics:
    def test_a_registered_folder_is_listed_and_shown(
        self, lorelay: Lorelay, tmp_path: Path
    ) -> None:
        registered = lorelay("register", write_adapter(tmp_path / "a"))
        assert registered.status == 0
        assert "registered legal-qa-v1@1.2.0 (rank 4, 4 examples)" in registered.out
        assert "No worker is running" in registered.err

        listed = lorelay("list")
        assert "legal-qa-v1" in listed.out
        assert "active" in listed.out
        shown = lorelay("show", "legal-qa", "--examples", 2)
        assert "legal-qa-v1@1.2.0" in shown.out
        assert "demo-base@1.0" in shown.out
        assert "Frage 0?  (held out)" in shown.out
        assert "Frage 2?" not in shown.out

    def test_programs_get_json(self, lorelay: Lorelay, tmp_path: Path) -> None:
        folder = write_adapter(tmp_path / "a")
        result = json.loads(lorelay("register", folder, "--json").out)
        assert (result["adapter"], result["result"]) == ("legal-qa-v1@1.2.0", "new")
        assert json.loads(lorelay("register", folder, "--json").out)["result"] == "same"
        (listed,) = json.loads(lorelay("list", "--json").out)
        shown = json.loads(lorelay("show", "legal-qa-v1@1.2.0", "--json").out)
        assert listed == shown
        assert shown["training"]["lora_rank"] == 4

    def test_registering_again_says_that_it_is_there(
        self, lorelay: Lorelay, tmp_path: Path
    ) -> None:
        folder = write_adapter(tmp_path / "a")
        lorelay("register", folder)
        again = lorelay("register", folder)
        assert again.status == 0
        assert "already registered legal-qa-v1@1.2.0" in again.out

    def test_of_several_the_sound_ones_are_registered(
        self, lorelay: Lorelay, tmp_path: Path
    ) -> None:
        sound = write_adapter(tmp_path / "a")
        ill_named = write_adapter(tmp_path / "b", adapter_id="legal")
        outcome = lorelay("register", ill_named, sound)
        assert outcome.status == 1
        assert "must be shaped {domain}-{task}-v{major}" in outcome.err
        assert "1 of 2 adapters were not registered" in outcome.err
        assert "legal-qa-v1" in lorelay("list").out

    def test_a_refusal_is_one_sentence_and_a_status(self, lorelay: Lorelay, tmp_path: Path) -> None:
        outcome = lorelay("register", tmp_path / "nothing")
        assert outcome.status == 1
        assert "There is no file or folder" in outcome.err
        assert "Traceback" not in outcome.err

    def test_training_data_serves_as_examples(self, lorelay: Lorelay, tmp_path: Path) -> None:
        folder = write_adapter(tmp_path / "a", examples=0)
        data = tmp_path / "data.jsonl"
        data.write_text('{"instruction": "Wer?", "output": "Ich."}\n' * 2)
        assert "1 example)" in lorelay("register", folder, "--examples", data).out
        assert "Wer?" in lorelay("show", "legal-qa").out

    def test_examples_belong_to_one_adapter(self, lorelay: Lorelay, tmp_path: Path) -> None:
        outcome = lorelay("register", tmp_path, tmp_path, "--examples", tmp_path / "x")
        assert outcome.status == 2
        assert "register them one by one" in outcome.err

    def test_an_unknown_name_comes_with_near_ones(self, lorelay: Lorelay, tmp_path: Path) -> None:
        lorelay("register", write_adapter(tmp_path / "a"))
        outcome = lorelay("show", "legal-qa-v2")
        assert outcome.status == 1
        assert "Did you mean legal-qa-v1" in outcome.err

    def test_nothing_registered_says_how_to_begin(self, lorelay: Lorelay) -> None:
        assert "lorelay adapters register FOLDER" in lorelay("list").out

    def test_metadata_wrapped_as_for_themisdbs_own_registry_is_taken(
        self, lorelay: Lorelay, tmp_path: Path
    ) -> None:
        folder = write_adapter(tmp_path / "weights")
        export = tmp_path / "export.json"
        export.write_text(
            json.dumps({"adapter_metadata": metadata(vllm={"adapter_path": str(folder)})})
        )
        assert lorelay("register", export).status == 0


def test_missing_topics_are_a_plain_sentence(lorelay: Lorelay, topics: Topics) -> None:
    outcome = lorelay("list")
    assert outcome.status == 2
    assert topics.adapters in outcome.err or topics.schemas in outcome.err
    assert "Traceback" not in outcome.err


def test_a_cluster_that_does_not_answer_is_a_plain_sentence(
    lorelay: Lorelay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORELAY_KAFKA", "127.0.0.1:9")
    for arguments in (("list",), ("register", write_adapter(tmp_path / "a"))):
        outcome = lorelay(*arguments)
        assert outcome.status == 2
        assert "127.0.0.1:9" in outcome.err
        assert "Traceback" not in outcome.err
