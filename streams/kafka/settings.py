"""Where the Kafka cluster is and how its clients connect, shared by every process."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from schemas.errors import ConfigurationError
from schemas.topics import MAX_RECORD_BYTES, Topics
from streams.kafka.security import SecuritySettings

#: The local stack's state, written by `lorelay up`, below the working folder.
STACK_FILE = Path(".lorelay/stack.json")

#: Coordinator time-out of a transaction. A killed producer's open transaction hides all later
#: records of its output partitions from read_committed readers until it ends, so it is short.
TRANSACTION_TIMEOUT_MS = 10_000

#: aiokafka tries for ever what a broker does not answer. After this long the coordinator, where
#: there is one, has given the transaction up.
TRANSACTION_PATIENCE_SECONDS = 2 * TRANSACTION_TIMEOUT_MS / 1000

#: How old a group member's knowledge of its topic gets, in ms: a topic that was deleted and made
#: anew, or has more partitions, is consumed after so long. (aiokafka's own is five minutes.)
METADATA_MAX_AGE_MS = 10_000

#: How long a group member may be without a poll: ten years. One that has no partition, or no room,
#: polls nothing, and aiokafka would have it leave its group then and never join it again.
MAX_POLL_INTERVAL_MS = 10 * 365 * 86_400_000


#: What fits the protocol's numbers.
_MOST = 2**31 - 1
_HIGHEST_PORT = 65_535


def _local_stack_or_default() -> str:
    try:
        return str(json.loads(STACK_FILE.read_text())["kafka"])
    except (OSError, ValueError, KeyError, TypeError):
        return "127.0.0.1:9092"


def checked_servers(servers: str) -> str:
    """The same bootstrap servers, if our clients can read them. Raises: ConfigurationError."""
    from aiokafka.conn import get_ip_port_afi

    for server in servers.split(","):
        try:
            host, port, _ = get_ip_port_afi(server)
            is_sound = bool(host.encode("idna")) and 0 < port <= _HIGHEST_PORT
        except ValueError:
            is_sound = False
        if not is_sound:
            raise ConfigurationError(
                f"{server!r} is no Kafka broker's address: LORELAY_KAFKA is host:port[,host:port], "
                f"with ports from 1 to {_HIGHEST_PORT}."
            )
    return servers


class KafkaSettings(SecuritySettings):
    """The cluster's address and the names of our topics; from `LORELAY_*` variables."""

    kafka: str = Field(
        default_factory=_local_stack_or_default,
        description="Bootstrap servers, host:port[,host:port]; default: the local stack's broker.",
    )
    topic_prefix: str = Field(
        default="lorelay.",
        pattern=r"^[A-Za-z0-9._-]{0,200}$",
        description="What every topic name starts with.",
    )
    schema_registry: str | None = Field(
        default=None,
        description="URL of a Confluent schema registry; without one, schemas go over a topic.",
    )
    request_timeout_ms: int = Field(
        default=15_000, gt=0, le=_MOST, description="Time-out of one broker request."
    )
    max_record_bytes: int = Field(
        default=MAX_RECORD_BYTES,
        gt=0,
        le=_MOST,
        description="Largest record that we produce, in bytes.",
    )

    @field_validator("kafka")
    @classmethod
    def _check_servers(cls, servers: str) -> str:
        return checked_servers(servers)

    @property
    def topics(self) -> Topics:
        """Our topic names under this prefix."""
        return Topics(self.topic_prefix)

    def client_kwargs(self) -> dict[str, Any]:
        """What every aiokafka client (consumer, producer, admin) is made with.

        Those made after this leave no connection behind where they are cancelled.
        """
        from streams.kafka import bootstrap, lenient

        bootstrap.install()
        lenient.install()
        return {
            "bootstrap_servers": self.kafka,
            "request_timeout_ms": self.request_timeout_ms,
            **self.security_kwargs(),
        }

    def librdkafka_config(self) -> dict[str, str | int | float | bool]:
        """What every client of confluent-kafka is made with."""
        return {"bootstrap.servers": self.kafka, **self.librdkafka_security()}
