"""The same questions through the gateway and past it, taking turns: what a client waits for."""

import asyncio
import json
import random
import sys
from time import perf_counter
from typing import Any

import aiohttp
import uuid_utils

from schemas.records import Query
from streams.client.queries import QueryClient
from streams.kafka.settings import KafkaSettings

Waited = tuple[float, float]
"""Milliseconds to the first chunk and to the end."""


async def measure(
    url: str, kafka: str, texts: list[str], records: int, rate: float, seed: int, stream: bool
) -> dict[str, list[Waited]]:
    """Sends at random times (Poisson), every other one by each way; by way."""
    rng = random.Random(seed)
    found: dict[str, list[Waited]] = {"gateway": [], "topic": []}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        QueryClient(KafkaSettings(kafka=kafka), chunks=stream) as queries,
        asyncio.TaskGroup() as tasks,
    ):

        async def put(number: int) -> None:
            text = texts[number % len(texts)]
            if number % 2:
                found["topic"].append(await _by_topic(queries, text, stream))
            else:
                found["gateway"].append(await _by_gateway(http, url, text, stream))

        for number in range(records):
            tasks.create_task(put(number))
            await asyncio.sleep(rng.expovariate(rate))
    return found


async def _by_gateway(http: aiohttp.ClientSession, url: str, text: str, stream: bool) -> Waited:
    begun = perf_counter()
    first = 0.0
    body = {"model": "lorelay", "prompt": text, "stream": stream}
    async with http.post(f"{url}/v1/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.content:
            if not first and line.strip():
                first = perf_counter()
    return (first - begun) * 1000, (perf_counter() - begun) * 1000


async def _by_topic(queries: QueryClient, text: str, stream: bool) -> Waited:
    begun = perf_counter()
    first = 0.0

    def on_chunk(_: Any) -> None:
        nonlocal first
        first = first or perf_counter()

    query = Query(id=str(uuid_utils.uuid7()), prompt=text, stream=stream)
    assert query.id is not None
    waiting = await queries.send(query, on_chunk if stream else None)
    answer = await waiting
    ended = perf_counter()
    queries.forget(query.id, waiting)
    assert answer.response.error is None, answer.response.error
    return ((first or ended) - begun) * 1000, (ended - begun) * 1000


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(**json.loads(sys.argv[1])))))
