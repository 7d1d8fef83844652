"""A client that is cancelled while it connects closes what it has opened."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.conn import AIOKafkaConnection

from streams.kafka.consumers import stop
from streams.kafka.settings import KafkaSettings


@pytest.mark.parametrize("request_type", ["ApiVersionRequest", "MetadataRequest"])
async def test_a_client_that_is_cancelled_amid_its_first_requests_has_no_connection(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, request_type: str
) -> None:
    consumer = AIOKafkaConsumer(**kafka_settings.client_kwargs())
    starting = asyncio.create_task(consumer.start())
    connections = set()
    send = AIOKafkaConnection.send

    def cancelling(
        connection: AIOKafkaConnection, request: Any, *arguments: Any, **how: Any
    ) -> Any:
        connections.add(connection)
        if type(request).__name__ == request_type:
            starting.cancel()
        return send(connection, request, *arguments, **how)

    monkeypatch.setattr(AIOKafkaConnection, "send", cancelling)
    with suppress(asyncio.CancelledError):
        await starting
    await stop(consumer)
    assert starting.cancelled()
    assert len(connections) == 1
    assert [c for c in connections if c.connected()] == []


async def test_what_a_started_client_opens_later_is_its_own_affair(
    kafka_settings: KafkaSettings,
) -> None:
    async with AIOKafkaConsumer(**kafka_settings.client_kwargs()) as consumer:
        assert await consumer.topics() is not None
        (connection,) = consumer._client._conns.values()
        assert connection.connected()
