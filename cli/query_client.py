"""The client of streams.client, as a command uses it."""

import logging

from streams.client.failures import ConnectionLost
from streams.client.queries import Answer, QueryClient
from streams.client.troubles import no_topic, unreachable

__all__ = [
    "Answer",
    "ConnectionLost",
    "QueryClient",
    "no_topic",
    "quieten_clients",
    "unreachable",
]


def quieten_clients() -> None:
    """What aiokafka has to say is told in a sentence; so are the futures that it leaves unread."""
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
