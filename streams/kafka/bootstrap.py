"""aiokafka's first connection is closed, too, where its client is cancelled while it starts.

The connection by which a client learns of the brokers is a local variable of aiokafka's: where
the client is cancelled amid its first request, nobody closes it. It stays open until Python's
collector finds it, which may be never.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiokafka.client
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, create_conn


@dataclass(slots=True)
class _Start:
    """The connections of a client that starts; what the client opens later is its own affair."""

    connections: list[AIOKafkaConnection] = field(default_factory=list)
    is_over: bool = False


_start: ContextVar[_Start | None] = ContextVar("start of a client", default=None)
_bootstrap = AIOKafkaClient.bootstrap


async def _create_conn(*arguments: Any, **options: Any) -> AIOKafkaConnection:
    connection = await create_conn(*arguments, **options)
    start = _start.get()
    if start is not None and not start.is_over:
        start.connections.append(connection)
    return connection


async def _closing_bootstrap(client: AIOKafkaClient) -> None:
    start = _Start()
    token = _start.set(start)
    try:
        await _bootstrap(client)
    except BaseException:
        for connection in start.connections:
            connection.close()
        raise
    finally:
        # The client's own tasks go on in a copy of this context.
        start.is_over = True
        start.connections.clear()
        _start.reset(token)


def install() -> None:
    """For every client of this process."""
    aiokafka.client.create_conn = _create_conn
    AIOKafkaClient.bootstrap = _closing_bootstrap
