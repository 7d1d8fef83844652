"""`lorelay feedback`."""

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from cli.plain_errors import plain_errors
from cli.query_client import quieten_clients
from schemas.errors import ConfigurationError
from schemas.records import Response
from streams.client import Client
from streams.gateway.archive import Archive
from streams.gateway.failures import NotAnswered, UnknownQuery
from streams.kafka.settings import KafkaSettings
from streams.kafka.writer_schemas import WriterSchemas, open_codec
from streams.parts import started

_LOOKBACK_SECONDS = 72 * 3600.0
_LOOKBACK_RECORDS = 1_000_000


def feedback(
    query_id: Annotated[str, typer.Argument(metavar="ID", help="The id that the answer has.")],
    rating: Annotated[
        float | None, typer.Option("--rating", "-r", min=0, max=1, help="0: useless, 1: right.")
    ] = None,
    correction: Annotated[
        str | None, typer.Option(help="What the answer should have been.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="Anything else.")] = None,
) -> None:
    """Say what an answer was worth: a canary is judged by it.

    Examples:

      lorelay feedback 018f2c4e-7a51-7c3e-b9b0-6f2f8f0d7c11 --rating 1

      lorelay feedback q1 --rating 0 --comment "It quotes repealed law."
    """
    if rating is None and not correction and not comment:
        raise ConfigurationError("Say something: --rating, --correction or --comment.")
    quieten_clients()
    settings = KafkaSettings()
    response = asyncio.run(_give(settings, query_id, rating, correction, comment))
    typer.echo(f"Noted for {response.adapter or 'the base model'}.")


async def _give(
    settings: KafkaSettings,
    query_id: str,
    rating: float | None,
    correction: str | None,
    comment: str | None,
) -> Response:
    """The response that it is about."""
    async with plain_errors(settings), AsyncExitStack() as parts:
        schemas = await started(WriterSchemas(settings, await open_codec(settings)), parts)
        archive = Archive(
            settings,
            schemas,
            lookback_seconds=_LOOKBACK_SECONDS,
            lookback_records=_LOOKBACK_RECORDS,
        )
        found = await archive.find(query_id)
        if found is None:
            raise UnknownQuery(query_id)
        if not isinstance(found, Response):
            raise NotAnswered(query_id)
        client = Client(settings=settings, streams=False)
        await parts.enter_async_context(client)
        await client.feedback(found, rating, correction=correction, comment=comment)
        return found
