import os
import socket
from pathlib import Path

import pytest

from cli.stack import broker, ports
from cli.stack.broker import FORMATTED, BrokerSettings, choose_port, find_java, java_major, prepare
from cli.stack.folder import StackFolder
from cli.stack.processes import Processes
from schemas.errors import ConfigurationError
from schemas.topics import Topics

SETTINGS = BrokerSettings(Path("/tmp/data"), port=9092, controller_port=9093)


def java_that_says(folder: Path, version: str) -> None:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def test_every_listener_is_on_the_loopback_interface() -> None:
    listeners = SETTINGS.properties()["listeners"].split(",")
    assert listeners == ["KAFKA://127.0.0.1:9092", "CONTROLLER://127.0.0.1:9093"]


def test_committed_offsets_outlive_the_records_of_every_consumed_topic() -> None:
    kept_ms = int(SETTINGS.properties()["offsets.retention.minutes"]) * 60_000
    topics = Topics()
    for spec in topics.specs():
        if spec.name in (topics.queries, topics.requests, topics.responses):
            assert int(spec.config["retention.ms"]) < kept_ms


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("command not found", None),
    ],
)
def test_java_tells_its_version(text: str, major: int | None) -> None:
    assert java_major(text) == major


def test_a_missing_java_is_a_plain_message(only_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs Java 17 or newer, and there is none"):
        find_java()


def test_an_old_java_is_a_plain_message(only_path: Path) -> None:
    java_that_says(only_path, "11.0.2")
    with pytest.raises(ConfigurationError, match="is 11: install a newer one"):
        find_java()


def test_a_java_of_the_right_age_is_taken(only_path: Path) -> None:
    java_that_says(only_path, "21.0.1")
    assert find_java() == str(only_path / "java")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Exception in thread main java.io.IOException: No space left\n\tat a.b(C.java:1)\n"
            "Caused by: java.io.IOException: disk full\n\t... 14 more",
            "Caused by: java.io.IOException: disk full",
        ),
        ("The properties are wrong.", "The properties are wrong."),
        ("", "Java ended with status 3"),
    ],
)
def test_a_folder_that_cannot_be_formatted_is_a_plain_message(
    tmp_path: Path, said: str, reason: str
) -> None:
    (tmp_path / "said").write_text(said)
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\ncat {tmp_path}/said >&2\nexit 3\n")
    java.chmod(0o755)
    settings = BrokerSettings(tmp_path / "data", 1, 2, jars=tmp_path / "jars")
    with pytest.raises(ConfigurationError, match="could not be made") as failed:
        prepare(settings, str(java))
    assert str(failed.value).endswith(f": {reason}")


WHOLE = "node.id=1\ndirectory.id=abc\nversion=1\ncluster.id=def\n"


@pytest.mark.parametrize(
    ("properties", "checkpoint"),
    [(b"", b"x"), (b"node.id=1\n", b"x"), (b"\xff", b"x"), (WHOLE.encode(), b"")],
)
def test_of_a_damaged_folder_no_copy_is_made(
    tmp_path: Path, properties: bytes, checkpoint: bytes
) -> None:
    formatted = tmp_path / FORMATTED
    (formatted / "__cluster_metadata-0").mkdir(parents=True)
    (formatted / "meta.properties").write_bytes(properties)
    (formatted / "__cluster_metadata-0" / "0-0.checkpoint").write_bytes(checkpoint)
    settings = BrokerSettings(tmp_path / "data", 1, 2, jars=tmp_path / "jars")
    with pytest.raises(ConfigurationError, match="could not be made"):
        prepare(settings, "false")
    assert not settings.log_dir.exists()


def test_a_data_folder_elsewhere_is_not_copied(tmp_path: Path) -> None:
    formatted = tmp_path / FORMATTED
    (formatted / "__cluster_metadata-0").mkdir(parents=True)
    (formatted / "meta.properties").write_text(WHOLE)
    (formatted / "__cluster_metadata-0" / "0-0.checkpoint").write_bytes(b"x")
    elsewhere = {"log.dirs": str(tmp_path / "elsewhere")}
    settings = BrokerSettings(tmp_path / "data", 1, 2, tmp_path / "jars", elsewhere)
    with pytest.raises(ConfigurationError, match="could not be made"):
        prepare(settings, "false")
    prepare(BrokerSettings(tmp_path / "other", 1, 2, tmp_path / "jars"), "false")
    assert (tmp_path / "other" / "log" / "meta.properties").exists()


def test_missing_jars_are_a_plain_message(tmp_path: Path) -> None:
    settings = BrokerSettings(tmp_path, 1, 2, jars=tmp_path / "jars")
    with pytest.raises(ConfigurationError, match="make setup"):
        broker.start(settings, Processes(StackFolder(tmp_path)), os.environ)


def test_a_taken_port_is_a_plain_message() -> None:
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {port} is taken"):
            choose_port(port)


def test_port_zero_is_any_free_one() -> None:
    assert ports.is_free(choose_port(0))


def test_without_a_wish_some_port_is_found() -> None:
    assert choose_port(None) > 0
