"""A broker that lets in whom it knows, and does for each what the shipped ACLs allow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from cli.stack import ports
from cli.stack.broker import BrokerSettings, running
from cli.stack.folder import StackFolder
from streams.kafka.acls import Acl
from streams.kafka.settings import KafkaSettings
from tests.certificates import Authority, Certificate

#: Part of every secret here: none of it may be seen anywhere.
MARKER = "s3cret-m4rker"
NAMES = ("admin", "router", "worker", "gateway", "client", "operator", "stranger")

Listener = Literal["SASL_SSL", "SSL"]


@dataclass(frozen=True, slots=True)
class SecuredBroker:
    """Where it listens, and the settings with which somebody connects."""

    authority: Authority
    certificates: dict[str, Certificate]
    addresses: dict[Listener, str]

    def variables(self, name: str, listener: Listener) -> dict[str, str]:
        """The LORELAY_* variables of ``name`` for that listener."""
        common = {
            "LORELAY_KAFKA": self.addresses[listener],
            "LORELAY_KAFKA_SECURITY": listener,
            "LORELAY_KAFKA_CA": str(self.authority.file),
        }
        if listener == "SASL_SSL":
            return common | {
                "LORELAY_KAFKA_USERNAME": name,
                "LORELAY_KAFKA_PASSWORD": password(name),
            }
        return common | {
            "LORELAY_KAFKA_CERTIFICATE": str(self.certificates[name].certificate),
            "LORELAY_KAFKA_KEY": str(self.certificates[name].key),
            "LORELAY_KAFKA_KEY_PASSWORD": password(name),
        }

    def settings(self, name: str, listener: Listener, prefix: str) -> KafkaSettings:
        """The same as settings, for topics under ``prefix``."""
        variables = self.variables(name, listener) | {"LORELAY_TOPIC_PREFIX": prefix}
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            return KafkaSettings()

    def grant(self, name: str, acls: Sequence[Acl]) -> None:
        """Grants ``acls``, as the superuser."""
        admin = AdminClient(self.settings("admin", "SASL_SSL", "").librdkafka_config())
        bindings = [
            AclBinding(
                ResourceType[acl.resource.name],
                acl.name,
                ResourcePatternType[acl.pattern.name],
                f"User:{name}",
                "*",
                AclOperation[operation.name],
                AclPermissionType.ALLOW,
            )
            for acl in acls
            for operation in acl.operations
        ]
        for granted in admin.create_acls(bindings, request_timeout=30).values():
            granted.result()


def password(name: str) -> str:
    return f"{MARKER}-of-{name}"


@contextmanager
def running_secured_broker(folder: Path) -> Iterator[SecuredBroker]:
    """A broker of its own in ``folder``, until the end of the context."""
    authority = Authority(folder)
    own = authority.issue("broker")
    keystore = folder / "broker.pem"
    keystore.write_bytes(own.key.read_bytes() + own.certificate.read_bytes())
    settings = _broker_settings(folder, keystore, authority.file)
    mutual = settings.extra["listeners"].split(",")[1].removeprefix("MUTUAL://")
    certificates = {name: authority.issue(name, password(name)) for name in NAMES}
    with running(settings, folder):
        yield SecuredBroker(authority, certificates, {"SASL_SSL": settings.address, "SSL": mutual})


def _broker_settings(folder: Path, keystore: Path, authority: Path) -> BrokerSettings:
    port, mutual, controller = ports.free_port(), ports.free_port(), ports.free_port()
    open_to_clients = f"KAFKA://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual}"
    protocols = "KAFKA:SASL_SSL,MUTUAL:SSL,CONTROLLER:SSL"
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return BrokerSettings(
        StackFolder(folder).kafka_data,
        port,
        controller,
        extra={
            "listeners": f"{open_to_clients},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": open_to_clients,
            "listener.security.protocol.map": protocols,
            # The broker itself comes with its certificate, and may do all.
            "inter.broker.listener.name": "MUTUAL",
            "super.users": "User:broker;User:admin",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority),
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]+)$/$1/",
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "listener.name.kafka.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.kafka.scram-sha-512.sasl.jaas.config": login,
        },
        format_options=[
            option
            for name in NAMES
            for option in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password(name)}]")
        ],
    )
