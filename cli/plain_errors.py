"""What a person is told where Kafka fails: a sentence, and nothing of the client's own."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaError

from cli.query_client import unreachable
from streams.kafka.settings import KafkaSettings


def quieten() -> None:
    """Silences aiokafka, and asyncio on the futures that it leaves unread."""
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@asynccontextmanager
async def plain_errors(settings: KafkaSettings) -> AsyncIterator[None]:
    """Raises: ConfigurationError for any KafkaError inside it."""
    try:
        yield
    except KafkaError as error:
        raise await unreachable(settings, error) from error
