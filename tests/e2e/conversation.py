"""Many queries at a time through the stack's Kafka."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import uuid_utils

from cli.query_client import QueryClient
from examples.demo import LANGUAGES, SAMPLING, Question, trained
from schemas.records import Query, Response
from streams.kafka.settings import KafkaSettings

#: Of each domain and language.
SAMPLE = 6

_AT_ONCE = 16
_PATIENCE_SECONDS = 60.0


def sample_of(family: str) -> list[Question]:
    """The same trained questions in every run, spread over the family's data."""
    chosen: list[Question] = []
    for language in LANGUAGES:
        questions = trained(family, language)
        chosen += questions[:: len(questions) // SAMPLE][:SAMPLE]
    return chosen


async def ask_all(settings: KafkaSettings, queries: Iterable[Query]) -> list[Response]:
    """The response to each query, in order; a query without an id is given one."""
    places = asyncio.Semaphore(_AT_ONCE)
    async with QueryClient(settings) as client:

        async def put(query: Query) -> Response:
            async with places, asyncio.timeout(_PATIENCE_SECONDS):
                answer = await client.send(replace(query, id=query.id or str(uuid_utils.uuid7())))
                return (await answer).response

        return await asyncio.gather(*map(put, queries))


async def ask(settings: KafkaSettings, query: Query) -> Response:
    """The response to one query."""
    (response,) = await ask_all(settings, [query])
    return response


async def answers_to(
    settings: KafkaSettings, questions: Sequence[Question], adapter: str | None = None
) -> list[Response]:
    """The responses to questions; ``adapter`` names who shall answer, None lets selection."""
    return await ask_all(
        settings, [Query(prompt=q.text, adapter=adapter, sampling=SAMPLING) for q in questions]
    )
