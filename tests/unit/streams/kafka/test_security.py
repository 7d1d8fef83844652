"""Settings of the security: what they make of clients, and what they say of mistakes."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from streams.kafka.settings import KafkaSettings
from tests.certificates import Authority, Certificate

ROOT = Path(__file__).parents[4]
MARKER = "s3cret-m4rker"
USER = {"security": "SASL_SSL", "username": "anna", "password": MARKER}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("anna")


def settings(**given: object) -> KafkaSettings:
    """Settings from environment variables, as processes get them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(f"LORELAY_KAFKA_{name.upper()}", str(value))
        return KafkaSettings()


def lorelay(
    arguments: Sequence[str], variables: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=os.environ | variables | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_settings_clients_are_plain() -> None:
    assert settings().client_kwargs()["security_protocol"] == "PLAINTEXT"
    assert settings().librdkafka_config()["security.protocol"] == "PLAINTEXT"


def test_a_user_over_tls_goes_to_the_clients_of_both_libraries(authority: Authority) -> None:
    made = settings(**USER, ca=authority.file)
    kwargs, config = made.client_kwargs(), made.librdkafka_config()
    assert (kwargs["security_protocol"], config["security.protocol"]) == ("SASL_SSL",) * 2
    assert (kwargs["sasl_mechanism"], config["sasl.mechanism"]) == ("SCRAM-SHA-512",) * 2
    assert (kwargs["sasl_plain_username"], config["sasl.username"]) == ("anna",) * 2
    assert (kwargs["sasl_plain_password"], config["sasl.password"]) == (MARKER,) * 2
    assert kwargs["ssl_context"].check_hostname
    assert config["ssl.ca.location"] == str(authority.file)


def test_a_password_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{MARKER}\n")
    made = settings(security="SASL_SSL", username="anna", password_file=tmp_path / "password")
    assert made.client_kwargs()["sasl_plain_password"] == MARKER


def test_an_encrypted_key_is_opened_with_its_password(authority: Authority) -> None:
    issued = authority.issue("ben", MARKER)
    made = settings(
        security="SSL", certificate=issued.certificate, key=issued.key, key_password=MARKER
    )
    assert made.librdkafka_config()["ssl.key.password"] == MARKER
    with pytest.raises(ConfigurationError, match="LORELAY_KAFKA_KEY_PASSWORD"):
        settings(security="SSL", certificate=issued.certificate, key=issued.key)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"security": "SASL_SSL"}, "LORELAY_KAFKA_USERNAME"),
        ({"security": "SASL_SSL", "username": "anna"}, "LORELAY_KAFKA_PASSWORD"),
        ({"security": "SSL", "username": "anna"}, "LORELAY_KAFKA_SECURITY=SSL"),
        ({"password": MARKER}, "LORELAY_KAFKA_SECURITY=PLAINTEXT"),
        ({**USER, "password_file": "/dev/null"}, "unset one"),
        ({**USER, "security": "SASL_PLAINTEXT", "ca": "/dev/null"}, "SSL or SASL_SSL"),
        ({"security": "SSL", "ca": "/nowhere/ca.pem"}, "no file /nowhere/ca.pem"),
        ({"security": "SSL", "ca": __file__}, "no certificate in PEM form"),
        ({"security": "SSL", "certificate": __file__}, "LORELAY_KAFKA_KEY"),
        ({"security": "SSL", "key": __file__}, "LORELAY_KAFKA_CERTIFICATE"),
        ({"security": "SSL", "certificate": __file__, "key": __file__}, "belong together"),
    ],
)
def test_a_contradiction_is_one_sentence_that_says_what_to_set(
    given: Mapping[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(**given)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert MARKER not in repr(caught.value)


def test_a_key_of_another_certificate_is_refused(
    authority: Authority, certificate: Certificate
) -> None:
    other = authority.issue("other")
    with pytest.raises(ConfigurationError, match="belong together"):
        settings(security="SSL", certificate=certificate.certificate, key=other.key)


def test_nothing_that_shows_settings_shows_a_secret() -> None:
    made = settings(**USER)
    made.client_kwargs()
    for shown in (repr(made), str(made), str(made.model_dump()), made.model_dump_json()):
        assert MARKER not in shown
    with pytest.raises(ValidationError) as caught:
        settings(**USER | {"security": "NONE"})
    assert MARKER not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("arguments", "given", "status"),
    [
        (["settings", "router"], USER, 0),
        (["settings", "worker"], USER | {"key_password": MARKER, "certificate": "x"}, 0),
        (["status"], USER, 1),
        (["topics", "acls"], USER, 0),
        (["up", "--engine", "echo"], USER, 2),
        (["topics"], USER | {"username": ""}, 2),
        (["topics"], USER | {"security": "NONE"}, 2),
        (["ask", "?"], USER | {"ca": "/nowhere"}, 2),
        (["router"], USER | {"security": "SSL"}, 2),
        (["worker", "--engine", "echo"], USER | {"ca": __file__}, 2),
    ],
)
def test_no_command_prints_a_secret(
    arguments: list[str], given: Mapping[str, str], status: int, tmp_path: Path
) -> None:
    variables = {f"LORELAY_KAFKA_{name.upper()}": value for name, value in given.items()}
    done = lorelay(arguments, variables, tmp_path)
    assert done.returncode == status, done.stderr
    assert MARKER not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if status == 2:
        assert done.stderr.startswith("lorelay: ")
        assert done.stderr.count("\n") == 1


def test_the_acls_as_json_name_each_right_with_its_principal(tmp_path: Path) -> None:
    arguments = ["topics", "acls", "--client", "User:CN=anna", "--format", "json"]
    done = lorelay(arguments, {"LORELAY_TOPIC_PREFIX": "clara-"}, tmp_path)
    assert {
        "principal": "User:CN=anna",
        "resource": "topic",
        "name": "clara-queries",
        "operations": ["Write"],
        "pattern": "literal",
    } in json.loads(done.stdout)
