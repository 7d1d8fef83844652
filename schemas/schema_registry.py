"""Confluent's schema registry as a place to publish schemas and look them up.

Needs the package confluent-kafka, which is imported only when a registry is used. Every
function here blocks on the network: call it before the event loop starts or in a thread.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from schemas.codec import Codec
from schemas.definitions import SCHEMAS
from schemas.errors import ConfigurationError, SchemaRegistryUnavailable
from schemas.records import (
    AdapterMetrics,
    AdapterVersion,
    Cancel,
    Chunk,
    ExampleSet,
    Feedback,
    InferenceRequest,
    LifecycleEvent,
    Query,
    Record,
    Response,
    Traffic,
    WorkerState,
)
from schemas.topics import Topics

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

_TIMEOUT_S: Final = 5


class RegisteredSchemas:
    """The schema registry at ``url``: a SchemaLookup, and where our own schemas are published.

    Raises ConfigurationError where ``url`` or the installation can't work.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = _client(url)

    def schema_text(self, schema_id: int) -> str | None:
        """The schema under that id, None where there is none.

        Raises SchemaRegistryUnavailable.
        """
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            text: str | None = self._client.get_schema(schema_id).schema_str
        except SchemaRegistryError as error:
            if error.http_status_code == HTTPStatus.NOT_FOUND:
                return None
            raise self._unavailable(error) from error
        except Exception as error:  # whatever the client's HTTP library raises
            raise self._unavailable(error) from error
        return text

    def publish(self, topics: Topics) -> Mapping[type[Record], int]:
        """Registers our schemas as ``TOPIC-value`` and returns their ids.

        Raises ConfigurationError where the registry refuses one, as incompatible for example,
        and SchemaRegistryUnavailable.
        """
        from confluent_kafka.schema_registry import Schema
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        ids = {}
        for topic, record_type in record_topics(topics).items():
            schema = Schema(SCHEMAS[record_type].text, schema_type="AVRO")
            try:
                ids[record_type] = self._client.register_schema(f"{topic}-value", schema)
            except SchemaRegistryError as error:
                raise ConfigurationError(
                    without_credentials(
                        f"The schema registry at {self._url} refuses the schema of {topic}: {error}"
                    )
                ) from error
            except Exception as error:  # whatever the client's HTTP library raises
                raise self._unavailable(error) from error
        return ids

    def _unavailable(self, error: Exception) -> SchemaRegistryUnavailable:
        return SchemaRegistryUnavailable(
            without_credentials(f"The schema registry at {self._url} does not answer: {error}")
        )


def without_credentials(text: str) -> str:
    """The text without the user and password that a URL in it may hold."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def codec_of_registry(url: str, topics: Topics) -> Codec:
    """A codec that writes Confluent's wire format with the ids of the registry at ``url``.

    Publishes our schemas there first; raises as RegisteredSchemas does.
    """
    registry = RegisteredSchemas(url)
    return Codec(ids=registry.publish(topics), lookup=registry)


def _client(url: str) -> "SchemaRegistryClient":
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError as error:
        raise ConfigurationError(
            f"A schema registry needs the Python package {error.name}, which is not installed here."
        ) from error
    try:
        return SchemaRegistryClient({"url": url, "timeout": _TIMEOUT_S, "max.retries": 1})
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            without_credentials(
                f"{url!r} can't be a schema registry's address ({error}); give one such as "
                "http://127.0.0.1:8081."
            )
        ) from error


def record_topics(topics: Topics) -> Mapping[str, type[Record]]:
    """Which record type each topic carries, for the subjects ``TOPIC-value``."""
    return {
        topics.queries: Query,
        topics.requests: InferenceRequest,
        topics.responses: Response,
        topics.replies: Response,
        topics.chunks: Chunk,
        topics.cancels: Cancel,
        topics.adapters: AdapterVersion,
        topics.examples: ExampleSet,
        topics.traffic: Traffic,
        topics.lifecycle: LifecycleEvent,
        topics.workers: WorkerState,
        topics.shadow: Response,
        topics.metrics: AdapterMetrics,
        topics.feedback: Feedback,
    }
