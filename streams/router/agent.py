"""The Faust agent on the queries topic."""

from typing import Any

from streams.router.batching import MicroBatcher
from streams.router.faust_app import RouterApp


def add_routing_agent(app: RouterApp, topic: str, batcher: MicroBatcher) -> None:
    """The Faust agent: hands every message to the batcher and acknowledges none.

    `acks=False` on the topic, not only `noack()` on the stream: Faust's own commits would
    otherwise run ahead of our transactions.
    """
    queries = app.topic(topic, value_serializer="raw", key_serializer="raw", acks=False)

    @app.agent(queries, name="routing")
    async def route(stream: Any) -> None:
        async for event in stream.noack().events():
            await batcher.offer(event.message)
