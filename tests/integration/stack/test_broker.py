"""The local broker: its topics, and the classes it starts with."""

import asyncio
import time
from pathlib import Path

import psutil

from cli.stack.broker import (
    CLASS_ARCHIVE,
    FORMATTED,
    JARS,
    NAME,
    BrokerSettings,
    find_java,
    prepare,
    running_broker,
)
from cli.stack.broker_start import write_start
from cli.stack.folder import StackFolder
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings

_A_YEAR_MS = 365 * 86_400_000


def test_topics_are_created_once_and_found_as_expected(
    kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    assert asyncio.run(create_topics(kafka_settings, live_topics.specs())) == []


def test_a_topic_with_other_settings_is_reported_and_not_changed(
    kafka_settings: KafkaSettings, live_topics: Topics
) -> None:
    for _ in range(2):
        differences = asyncio.run(create_topics(kafka_settings, live_topics.specs(partitions=7)))
        assert f"topic {live_topics.queries}: partitions is 4, expected 7" in map(str, differences)


def test_classes_are_archived_and_the_next_broker_has_them_from_there(tmp_path: Path) -> None:
    jars, archive = tmp_path / "jars", tmp_path / CLASS_ARCHIVE
    jars.symlink_to(JARS)
    archive.write_bytes(b"of other jars")
    write_start(jars)
    assert set(tmp_path.iterdir()) == {jars, archive, tmp_path / FORMATTED}
    with running_broker(tmp_path / "broker", jars):
        mapped = {found.path for found in broker_in(tmp_path / "broker").memory_maps()}
    assert str(archive) in mapped


def test_a_data_folder_that_is_copied_is_as_the_storage_tool_makes_it(tmp_path: Path) -> None:
    assert (JARS.parent / FORMATTED).is_dir(), "run `make setup`"
    jars = tmp_path / "jars"
    jars.symlink_to(JARS)
    extra = {"node.id": "2", "controller.quorum.voters": "1@127.0.0.1:1,2@127.0.0.1:3"}
    by_tool = BrokerSettings(tmp_path / "tool", 2, 3, jars, extra)
    copied = BrokerSettings(tmp_path / "copy", 2, 3, JARS, extra, cluster_id=by_tool.cluster_id)
    prepare(by_tool, find_java())
    prepare(copied, "no-java")
    ids = [ids_in(settings.log_dir) for settings in (by_tool, copied)]
    assert ids[0].pop("directory.id") != ids[1].pop("directory.id")
    assert ids[0] == ids[1] == {"version": "1", "node.id": "2", "cluster.id": copied.cluster_id}
    assert timeless(by_tool.log_dir) == timeless(copied.log_dir)
    assert not (tmp_path / FORMATTED).exists()


def test_an_archive_that_no_jvm_can_use_is_none(tmp_path: Path) -> None:
    jars = tmp_path / "jars"
    jars.symlink_to(JARS)
    (tmp_path / CLASS_ARCHIVE).write_bytes(b"of another Java")
    with running_broker(tmp_path / "broker", jars):
        assert broker_in(tmp_path / "broker").is_running()
    assert "archive" not in StackFolder(tmp_path / "broker").log_file(NAME).read_text()


def ids_in(log_dir: Path) -> dict[str, str]:
    lines = (log_dir / "meta.properties").read_text().splitlines()
    return dict(line.split("=") for line in lines if not line.startswith("#"))


def timeless(log_dir: Path) -> dict[str, bytes]:
    """What is in the other files, without the times and checksums of its record batches."""
    now, found = time.time() * 1000, {}
    for file in log_dir.rglob("*"):
        if file.is_dir() or file.name == "meta.properties":
            continue
        content = bytearray(file.read_bytes())
        at = 0
        while at < len(content):
            content[at + 17 : at + 21] = bytes(4)
            at += 12 + int.from_bytes(content[at + 8 : at + 12], "big")
        for at in range(len(content) - 7):
            if abs(int.from_bytes(content[at : at + 8], "big") - now) < _A_YEAR_MS:
                content[at : at + 8] = bytes(8)
        found[str(file.relative_to(log_dir))] = bytes(content)
    assert found
    return found


def broker_in(folder: Path) -> psutil.Process:
    return psutil.Process(int(StackFolder(folder).pid_file(NAME).read_text()))
