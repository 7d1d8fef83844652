"""Two commands at once: the second is told, and nothing is overwritten."""

import json
import os
from pathlib import Path

import pytest

from schemas.topics import Topics
from streams.kafka.settings import KafkaSettings
from tests.chaos.fleet import ROOT
from tests.chaos.preloaded import PreloadedCommand
from tests.unit.streams.registry.factories import write_adapter

pytestmark = pytest.mark.usefixtures("live_topics")


def begin(settings: KafkaSettings, *arguments: str) -> PreloadedCommand:
    """`lorelay adapters` as a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LORELAY_")}
    named = {"LORELAY_KAFKA": settings.kafka, "LORELAY_TOPIC_PREFIX": settings.topic_prefix}
    return PreloadedCommand(["adapters", *arguments], clean | named, ROOT)


def lorelay(settings: KafkaSettings, *arguments: str) -> str:
    done = begin(settings, *arguments).completed(60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def two_versions(kafka_settings: KafkaSettings, live_topics: Topics, tmp_path: Path) -> None:
    folders = [
        write_adapter(
            tmp_path / number,
            seed=seed,
            adapter_version=number,
            adapter_id=f"legal-qa-v{number[0]}",
        )
        for seed, number in enumerate(("1.0.0", "2.0.0"))
    ]
    lorelay(kafka_settings, "register", *map(str, folders))


@pytest.mark.usefixtures("two_versions")
def test_of_several_that_looked_at_the_same_split_one_changes_it_and_the_others_are_told(
    kafka_settings: KafkaSettings,
) -> None:
    commands = {
        weight: begin(
            kafka_settings,
            *("split", "legal-qa", "v1=90", f"v2={weight}", "--expect-revision", "1"),
            *("--by", f"writer-{weight}", "--json"),
        )
        for weight in range(10, 14)
    }
    ended = {weight: command.completed(120) for weight, command in commands.items()}
    (winner,) = [weight for weight, done in ended.items() if done.returncode == 0]
    for weight in commands.keys() - {winner}:
        assert ended[weight].returncode == 1
        assert "try again" in ended[weight].stderr
        assert "nothing was written" in ended[weight].stderr

    history = lorelay(kafka_settings, "history", "legal-qa", "--json").splitlines()
    splits = [event for line in history if (event := json.loads(line))["event"] == "split"]
    assert [(event["actor"], event["revision"]) for event in splits] == [(f"writer-{winner}", 2)]
    assert splits[0]["shares"]["legal-qa-v2@2.0.0"] == winner
    later = begin(kafka_settings, "rollback", "legal-qa", "--expect-revision", "1").completed(60)
    assert later.returncode == 1
    assert f"at revision 2, not 1: it was changed by writer-{winner}" in later.stderr


@pytest.mark.usefixtures("two_versions")
def test_changes_of_two_families_at_once_are_both_made_or_told(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """Writers share one transactional id: whichever is fenced has written nothing at all."""
    other = write_adapter(
        tmp_path / "tax", adapter_id="tax-qa-v1", task={"type": "qa", "domain": "tax"}
    )
    commands = [
        begin(kafka_settings, "promote", "legal-qa-v2", "--json"),
        begin(kafka_settings, "register", str(other)),
    ]
    ended = [command.completed(120) for command in commands]
    listed = json.loads(lorelay(kafka_settings, "list", "--json"))
    states = {entry["adapter_id"]: entry["status"] for entry in listed}
    promoted, registered = (done.returncode == 0 for done in ended)
    assert promoted or registered, ended
    assert states["legal-qa-v2"] == ("active" if promoted else "registered")
    assert ("tax-qa-v1" in states) == registered
