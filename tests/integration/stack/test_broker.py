"""The local broker: its topics, and the classes it starts with."""

import asyncio
from pathlib import Path

import psutil

from cli.stack.broker import CLASS_ARCHIVE, JARS, NAME, running_broker
from cli.stack.class_archive import write_class_archive
from cli.stack.folder import StackFolder
from schemas.topics import Topics
from streams.kafka.admin import create_topics
from streams.kafka.settings import KafkaSettings


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
    jars = tmp_path / "jars"
    jars.symlink_to(JARS)
    archive = write_class_archive(jars)
    assert archive == tmp_path / CLASS_ARCHIVE
    assert set(tmp_path.iterdir()) == {jars, archive}
    with running_broker(tmp_path / "broker", jars):
        mapped = {found.path for found in broker_in(tmp_path / "broker").memory_maps()}
    assert str(archive) in mapped


def test_an_archive_that_no_jvm_can_use_is_none(tmp_path: Path) -> None:
    jars = tmp_path / "jars"
    jars.symlink_to(JARS)
    (tmp_path / CLASS_ARCHIVE).write_bytes(b"of another Java")
    with running_broker(tmp_path / "broker", jars):
        assert broker_in(tmp_path / "broker").is_running()
    assert "archive" not in StackFolder(tmp_path / "broker").log_file(NAME).read_text()


def broker_in(folder: Path) -> psutil.Process:
    return psutil.Process(int(StackFolder(folder).pid_file(NAME).read_text()))
