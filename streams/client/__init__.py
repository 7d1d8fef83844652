"""Asking from Python, over Kafka: `async with Client() as client: await client.ask("...")`."""

from streams.client.client import Client
from streams.client.failures import AnsweredWithError, ConnectionLost, NoAnswer, StreamBroken
from streams.client.stream import Stream

__all__ = ["AnsweredWithError", "Client", "ConnectionLost", "NoAnswer", "Stream", "StreamBroken"]
