"""What a person is told where Kafka fails: a sentence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaError

from cli.query_client import unreachable
from streams.kafka.settings import KafkaSettings


@asynccontextmanager
async def plain_errors(settings: KafkaSettings) -> AsyncIterator[None]:
    """Raises: AccessRefused or ConfigurationError for any KafkaError inside it."""
    try:
        yield
    except KafkaError as error:
        raise await unreachable(settings, error) from error
